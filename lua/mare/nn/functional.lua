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

---max(x, 0), at most 6.
---@param x mare.tensor
function F.relu6(x) return x:relu6() end

---elu with the scales of self-normalising networks (Klambauer and others, 2017).
---@param x mare.tensor
function F.selu(x) return x:selu() end

---x where x > 0, else alpha * (exp(x / alpha) - 1) (Barron, 2017).
---@param x mare.tensor
---@param alpha? number default 1
function F.celu(x, alpha) return x:celu(alpha or 1) end

---x * tanh(softplus(x)) (Misra, 2019).
---@param x mare.tensor
function F.mish(x) return x:mish() end

---relu6(x + 3) / 6.
---@param x mare.tensor
function F.hardsigmoid(x) return x:hardsigmoid() end

---x * relu6(x + 3) / 6 (Howard and others, 2019).
---@param x mare.tensor
function F.hardswish(x) return x:hardswish() end

---x held between two bounds.
---@param x mare.tensor
---@param min? number default -1
---@param max? number default 1
function F.hardtanh(x, min, max) return x:clamp(min or -1, max or 1) end

---log(1 + exp(beta * x)) / beta.
---@param x mare.tensor
---@param beta? number default 1
function F.softplus(x, beta)
    if not beta or beta == 1 then return x:softplus() end
    return (x * beta):softplus() / beta
end

---x / (1 + |x|).
---@param x mare.tensor
function F.softsign(x) return x:softsign() end

---log(sigmoid(x)).
---@param x mare.tensor
function F.logsigmoid(x) return x:log_sigmoid() end

---x, but 0 where it lies between -lambda and lambda.
---@param x mare.tensor
---@param lambda? number default 0.5
function F.hardshrink(x, lambda) return x:hardshrink(lambda or 0.5) end

---x nearer to 0 by lambda, and 0 between -lambda and lambda.
---@param x mare.tensor
---@param lambda? number default 0.5
function F.softshrink(x, lambda) return x:softshrink(lambda or 0.5) end

---x - tanh(x).
---@param x mare.tensor
function F.tanhshrink(x) return x:tanhshrink() end

---x where x > threshold, else value.
---@param x mare.tensor
---@param threshold number
---@param value number
function F.threshold(x, threshold, value) return x:threshold(threshold, value) end

---The first half along a dimension times sigmoid of the second.
---@param x mare.tensor
---@param dim? integer default -1
function F.glu(x, dim) return x:glu(dim or -1) end

---x where x > 0, else weight * x, with one weight or one for each channel.
---@param x mare.tensor
---@param weight mare.tensor
function F.prelu(x, weight) return x:prelu(weight) end

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

---triplet_margin_loss with a distance of one's own.
---@param anchor mare.tensor
---@param positive mare.tensor
---@param negative mare.tensor
---@param distance fun(a: mare.tensor, b: mare.tensor): mare.tensor
---@param options? {margin?: number, swap?: boolean, reduction?: string}
function F.triplet_margin_with_distance_loss(anchor, positive, negative, distance, options)
    local o, far = options or {}, distance(anchor, negative)
    if o.swap then far = mare.minimum(far, distance(positive, negative)) end
    -- What ranks far above near by the margin costs nothing.
    return mare.margin_ranking_loss(far, distance(anchor, positive), mare.tensor(1),
        { margin = o.margin or 1, reduction = o.reduction })
end

-- The engine's own calls are functional forms as they are: losses, dropout and others.
for _, call in ipairs(mare.calls()) do F[call.name] = F[call.name] or mare[call.name] end

--- A mask that is true where nothing is seen, or is added to scores, as what is added.
local function as_added(mask)
    if mask.dtype ~= "bool" then return mask end
    return mare.where(mask, -math.huge, 0)
end

---@class mare.nn.mha_forward
---@field heads integer
---@field in_proj_weight mare.tensor|mare.tensor[] [3 E, E], or those of query, key and value
---@field in_proj_bias? mare.tensor [3 E]
---@field out_proj_weight mare.tensor [E, E]
---@field out_proj_bias? mare.tensor [E]
---@field dropout_p? number of the weights, default 0
---@field batch_first? boolean [N, L, E] in place of [L, N, E]
---@field key_padding_mask? mare.tensor [N, S]: true where a key is left out, or what is added
---@field attn_mask? mare.tensor [L, S] or [N heads, L, S]: true where a key is not seen, or added
---@field is_causal? boolean query i sees the keys 0 to i
---@field need_weights? boolean a second result: the weights, averaged over the heads [N, L, S]

---Attention with several heads (Vaswani et al. 2017). Masks mean what PyTorch's module means by
---them: true is not seen, the opposite of mare.scaled_dot_product_attention.
---@param query mare.tensor [L, N, E], or without the batch [L, E]
---@param key mare.tensor [S, N, E]
---@param value mare.tensor [S, N, E]
---@param options mare.nn.mha_forward
---@return mare.tensor
---@return mare.tensor? weights
function F.multi_head_attention_forward(query, key, value, options)
    local single = #query.shape == 2
    if not single and #query.shape ~= 3 then
        mare.fail("multi_head_attention_forward: expected [L, N, E] or [L, E], got %s", query.shape)
    end
    local function batched(x)
        if single then return x:unsqueeze(1) end
        return options.batch_first and x or x:transpose(1, 2)
    end
    query, key, value = batched(query), batched(key), batched(value)
    local heads, weight = options.heads, options.in_proj_weight
    local n, l, s = query.shape[1], query.shape[2], key.shape[2]
    local width = options.out_proj_weight.shape[1]
    --- The i-th of query, key and value, as [N, heads, L, E / heads].
    local function project(x, i)
        local w = mare.is_tensor(weight) and weight:narrow(1, (i - 1) * width + 1, width)
            or weight[i]
        local b = options.in_proj_bias
        b = b and b:narrow(1, (i - 1) * width + 1, width)
        return F.linear(x, w, b):reshape(n, x.shape[2], heads, width // heads):transpose(2, 3)
    end
    local q, k, v = project(query, 1), project(key, 2), project(value, 3)
    local mask = options.attn_mask and as_added(options.attn_mask)
    if mask and #mask.shape == 3 then mask = mask:reshape(n, heads, l, s) end
    if options.key_padding_mask then
        local padding = as_added(options.key_padding_mask):reshape(n, 1, 1, s)
        mask = mask and mask + padding or padding
    end
    local causal = options.is_causal or false
    local y = mare.scaled_dot_product_attention(q, k, v, mask,
        { is_causal = causal, dropout_p = options.dropout_p or 0 })
    y = F.linear(y:transpose(2, 3):reshape(n, l, width), options.out_proj_weight,
        options.out_proj_bias)
    if single then
        y = y:squeeze(1)
    elseif not options.batch_first then
        y = y:transpose(1, 2)
    end
    if not options.need_weights then return y end
    local scores = q:matmul(k:transpose(3, 4)) * (1 / math.sqrt(width // heads))
    if mask then scores = scores + mask end
    if causal then
        local late = mare.arange(s):gt(mare.arange(l):unsqueeze(2))
        scores = mare.where(late, -math.huge, scores)
    end
    local weights = scores:softmax(-1):mean(2)
    return y, single and weights:squeeze(1) or weights
end

return F
