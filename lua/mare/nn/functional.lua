--- Functional forms: layers without state.

local mare = require "mare"

local F = {}

---@param x mare.tensor
function F.relu(x) return x:relu() end

---x where x > 0, else slope * x.
---@param x mare.tensor
---@param slope? number default 0.01
function F.leaky_relu(x, slope) return x:leaky_relu(slope or 0.01) end

---x where x > 0, else alpha * (exp(x) - 1).
---@param x mare.tensor
---@param alpha? number default 1
function F.elu(x, alpha) return x:elu(alpha or 1) end

---@param x mare.tensor
function F.gelu(x) return x:gelu() end

---x * sigmoid(x).
---@param x mare.tensor
function F.silu(x) return x:silu() end

---@param x mare.tensor
function F.sigmoid(x) return x:sigmoid() end

---@param x mare.tensor
function F.tanh(x) return x:tanh() end

---@param x mare.tensor
---@param dim? integer default -1
function F.softmax(x, dim) return x:softmax(dim or -1) end

---@param x mare.tensor
---@param dim? integer default -1
function F.log_softmax(x, dim) return x:log_softmax(dim or -1) end

---x @ weight^T + bias.
---@param x mare.tensor [..., inputs]
---@param weight mare.tensor [outputs, inputs]
---@param bias? mare.tensor [outputs]
function F.linear(x, weight, bias)
    local y = x:matmul(weight:t())
    return bias and y + bias or y
end

---@param x mare.tensor [N, C, H, W]
---@param weight mare.tensor [outputs, C / groups, h, w]
---@param bias? mare.tensor [outputs]
---@param options? mare.nn.conv stride, padding, dilation, groups
function F.conv2d(x, weight, bias, options) return mare.conv2d(x, weight, bias, options) end

---@param x mare.tensor [N, C, H, W]
---@param options mare.nn.pool and kernel
function F.max_pool2d(x, options) return mare.max_pool2d(x, options) end

---@param x mare.tensor [N, C, H, W]
---@param options mare.nn.pool and kernel
function F.avg_pool2d(x, options) return mare.avg_pool2d(x, options) end

---Sets elements to zero with probability p and scales the rest by 1 / (1 - p).
---@param x mare.tensor
---@param p? number default 0.5
---@param training? boolean default true; false returns x
function F.dropout(x, p, training)
    p = p or 0.5
    if training == false or p == 0 then return x end
    if p == 1 then return x * 0 end
    return x * mare.bernoulli(mare.full(x.shape, 1 - p)) * (1 / (1 - p))
end

---@param logits mare.tensor [N, C, ...]
---@param target mare.tensor classes from 0, [N, ...], or probabilities shaped like logits
---@param options? {label_smoothing?: number, reduction?: string}
function F.cross_entropy(logits, target, options)
    return mare.cross_entropy(logits, target, options)
end

---@param log_probs mare.tensor [N, C, ...]
---@param target mare.tensor classes from 0, [N, ...]
---@param options? {reduction?: string}
function F.nll_loss(log_probs, target, options) return mare.nll_loss(log_probs, target, options) end

---@param a mare.tensor
---@param b mare.tensor
---@param options? {reduction?: string}
function F.mse_loss(a, b, options) return mare.mse_loss(a, b, options) end

---@param a mare.tensor
---@param b mare.tensor
---@param options? {reduction?: string}
function F.l1_loss(a, b, options) return mare.l1_loss(a, b, options) end

---@param p mare.tensor probabilities
---@param target mare.tensor
---@param options? {reduction?: string}
function F.bce_loss(p, target, options) return mare.bce_loss(p, target, options) end

---@param logits mare.tensor
---@param target mare.tensor
---@param options? {reduction?: string}
function F.bce_with_logits(logits, target, options)
    return mare.bce_with_logits(logits, target, options)
end

return F
