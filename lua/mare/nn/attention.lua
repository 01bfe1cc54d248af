--- Multi-head attention.

local mare = require "mare"
local args = require "mare.nn.args"
local F = require "mare.nn.functional"
local init = require "mare.nn.init"
local Module = require("mare.nn.module").Module

local layers = {}

---@class mare.nn.mha
---@field dropout? number of the weights, default 0
---@field bias? boolean default true
---@field kdim? integer width of the keys, default that of the queries
---@field vdim? integer width of the values, default that of the queries
---@field batch_first? boolean [N, L, E] in place of [L, N, E], default false

---Attention with several heads (Vaswani et al. 2017), with the parameters of PyTorch's:
---in_proj_weight (or q_proj_weight, k_proj_weight and v_proj_weight when widths differ),
---in_proj_bias, out_proj.weight, out_proj.bias. Calling it takes query, key, value and the options
---of F.multi_head_attention_forward: key_padding_mask, attn_mask, is_causal, need_weights.
---@class mare.nn.MultiheadAttention: mare.nn.Module
---@field out_proj mare.nn.Linear
---@overload fun(width, heads: integer, options?: mare.nn.mha): mare.nn.MultiheadAttention
layers.MultiheadAttention = Module:extend("MultiheadAttention")

function layers.MultiheadAttention:init(width, heads, options)
    options = args.options_of(self, options,
        { dropout = true, bias = true, kdim = true, vdim = true, batch_first = true })
    self.embed_dim = args.size(self, "the width", width, 1)
    self.num_heads = args.size(self, "heads", heads, 1)
    if self.embed_dim % self.num_heads ~= 0 then
        mare.fail("MultiheadAttention: %d heads do not divide a width of %d", self.num_heads,
            self.embed_dim)
    end
    self.dropout = args.number(self, "dropout", options.dropout or 0, 0, 1)
    self.batch_first = options.batch_first or false
    local kdim = args.size(self, "kdim", options.kdim or self.embed_dim, 1)
    local vdim = args.size(self, "vdim", options.vdim or self.embed_dim, 1)
    if kdim == self.embed_dim and vdim == self.embed_dim then
        self:parameter("in_proj_weight", mare.zeros(3 * self.embed_dim, self.embed_dim))
        init.xavier_uniform(self.in_proj_weight)
    else
        for name, n in pairs { q = self.embed_dim, k = kdim, v = vdim } do
            self:parameter(name .. "_proj_weight", mare.zeros(self.embed_dim, n))
            init.xavier_uniform(self[name .. "_proj_weight"])
        end
    end
    if options.bias ~= false then
        self:parameter("in_proj_bias", mare.zeros(3 * self.embed_dim))
    end
    local Linear = require("mare.nn.layers").Linear
    self.out_proj = Linear(self.embed_dim, self.embed_dim, { bias = options.bias ~= false })
    if self.out_proj.bias then init.zeros(self.out_proj.bias) end
end

function layers.MultiheadAttention:forward(query, key, value, options)
    options = args.options_of(self, options,
        { key_padding_mask = true, attn_mask = true, is_causal = true, need_weights = true })
    return F.multi_head_attention_forward(query, key, value, {
        heads = self.num_heads,
        in_proj_weight = self.in_proj_weight or
            { self.q_proj_weight, self.k_proj_weight, self.v_proj_weight },
        in_proj_bias = self.in_proj_bias,
        out_proj_weight = self.out_proj.weight,
        out_proj_bias = self.out_proj.bias,
        dropout_p = self.training and self.dropout or 0,
        batch_first = self.batch_first,
        key_padding_mask = options.key_padding_mask,
        attn_mask = options.attn_mask,
        is_causal = options.is_causal,
        need_weights = options.need_weights,
    })
end

function layers.MultiheadAttention:extra()
    return ("%d, %d"):format(self.embed_dim, self.num_heads)
end

return layers
