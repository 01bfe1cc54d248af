-- Attention, decoding with a cache, and the layer.

local mare = require "mare"
local check = require "check"
local nn = mare.nn

local function largest(x) return x:abs():max():item() end

describe("scaled_dot_product_attention", function()
    it("decodes over a growing cache as over the whole sequence", function()
        local steps, width = 7, 4
        local q, k, v = mare.randn(2, 4, steps, width), mare.randn(2, 2, steps, width),
            mare.randn(2, 2, steps, width)
        local all = mare.scaled_dot_product_attention(q, k, v,
            { is_causal = true, enable_gqa = true })
        local keys, values = mare.zeros(2, 2, 10, width), mare.zeros(2, 2, 10, width)
        for t = 1, steps do
            keys = mare.kv_cache_update(keys, k:narrow(3, t, 1), t - 1)
            values = mare.kv_cache_update(values, v:narrow(3, t, 1), t - 1)
            local y = mare.scaled_dot_product_attention(q:narrow(3, t, 1), keys, values,
                { is_causal = true, causal_offset = t - 1, enable_gqa = true })
            check.near(largest(y - all:narrow(3, t, 1)), 0, 1e-6)
        end
        -- The first rows at once, the rest in pieces aligned to the end.
        keys = mare.kv_cache_update(mare.zeros(2, 2, 10, width), k:narrow(3, 1, 4), 0)
        check.near(largest(keys:narrow(3, 1, 4) - k:narrow(3, 1, 4)), 0, 0)
        local y = mare.scaled_dot_product_attention(q:narrow(3, 5, 3), k, v,
            { is_causal = true, causal_offset = 4, enable_gqa = true })
        check.near(largest(y - all:narrow(3, 5, 3)), 0, 1e-6)
    end)

    it("gives 0 where nothing is seen, also in gradients", function()
        local q = mare.randn(1, 3, 2, { requires_grad = true })
        local k, v = mare.randn(1, 4, 2), mare.randn(1, 4, 2)
        local mask = mare.tensor { { true, false, false, true }, { false, false, false, false },
            { true, true, true, true } }
        local y = mare.scaled_dot_product_attention(q, k, v, mask)
        check.near(y[1][2], { 0, 0 }, 0)
        y:sum():backward()
        check.near(q.grad[1][2], { 0, 0 }, 0)
        check.truthy(largest(q.grad[1][1]) > 0)
    end)

    it("drops weights and keeps their mean", function()
        mare.manual_seed(1)
        local q, k = mare.zeros(1, 64, 1), mare.zeros(1, 64, 1)
        local y = mare.scaled_dot_product_attention(q, k, mare.ones(1, 64, 1),
            { dropout_p = 0.25 }):eval()
        check.near(y:mean():item(), 1, 0.03)
        check.truthy(largest(y - 1) > 0.01)
        mare.manual_seed(1)
        local again = mare.scaled_dot_product_attention(q, k, mare.ones(1, 64, 1),
            { dropout_p = 0.25 })
        check.near(largest(again - y), 0, 0)
    end)

    it("takes permuted halves and gives halves", function()
        local x = mare.randn(2, 5, 3, 4):to("f16")
        local heads = x:transpose(2, 3)
        local y = mare.scaled_dot_product_attention(heads, heads, heads)
        check.equal(y.dtype, "f16")
        check.equal(y.shape, { 2, 3, 5, 4 })
        local plain = heads:contiguous()
        check.near(largest(y - mare.scaled_dot_product_attention(plain, plain, plain)), 0, 0)
    end)

    it("works on heads of any size up to 256", function()
        for _, n in ipairs { 1, 31, 200, 256 } do
            local q, k, v = mare.randn(1, 3, n), mare.randn(1, 20, n), mare.randn(1, 20, n)
            local dense = (q:matmul(k:transpose(2, 3)) * (1 / math.sqrt(n))):softmax(-1):matmul(v)
            check.near(largest(mare.scaled_dot_product_attention(q, k, v) - dense), 0, 1e-5)
        end
    end)

    it("refuses what does not fit", function()
        local attend, x = mare.scaled_dot_product_attention, mare.zeros(2, 3, 4)
        check.fails("query %[2, 3, 4%], key %[2, 3, 5%] and value", attend, x, mare.zeros(2, 3, 5),
            x)
        check.fails("with Hq = Hk", attend, mare.zeros(4, 3, 4), x, x)
        check.fails("with Hq a multiple of Hk", attend, mare.zeros(3, 3, 4), x, x,
            { enable_gqa = true })
        check.fails("attn_mask %[2, 2%] does not stretch to %[2, 3, 3%]", attend, x, x, x,
            mare.zeros(2, 2))
        check.fails("attn_mask is bool or float, not i32", attend, x, x, x,
            mare.zeros(3, 3, { dtype = "i32" }))
        check.fails("dropout_p 1 is not in", attend, x, x, x, { dropout_p = 1 })
        check.fails("heads of 300 and 300 are not within 1 to 256", attend, mare.zeros(2, 300),
            mare.zeros(2, 300), mare.zeros(2, 300))
        check.fails("3 rows from 2 on are outside a cache %[1, 4, 2%]", mare.kv_cache_update,
            mare.zeros(1, 4, 2), mare.zeros(1, 3, 2), 2)
        check.fails("do not fit a cache", mare.kv_cache_update, mare.zeros(1, 4, 2),
            mare.zeros(1, 1, 3), 0)
        check.fails("rope: floats %[.., L, E%] with an even E", mare.rope, mare.zeros(3, 5))
        check.fails("positions %[2%] do not stretch to %[3%]", mare.rope, mare.zeros(3, 4),
            mare.zeros(2))
    end)
end)

describe("rope", function()
    it("makes products depend on distances alone", function()
        local q, k = mare.randn(1, 8), mare.randn(1, 8)
        for _, interleaved in ipairs { true, false } do
            local function at(x, p)
                return mare.rope(x, { offset = p, interleaved = interleaved })
            end
            local near = (at(q, 3) * at(k, 1)):sum():item()
            check.near((at(q, 13) * at(k, 11)):sum():item(), near, 1e-4)
        end
    end)
end)

describe("MultiheadAttention", function()
    it("has PyTorch's parameters", function()
        local state = nn.MultiheadAttention(6, 2):state_dict()
        check.equal(state.in_proj_weight.shape, { 18, 6 })
        check.equal(state.in_proj_bias.shape, { 18 })
        check.equal(state["out_proj.weight"].shape, { 6, 6 })
        check.equal(state["out_proj.bias"].shape, { 6 })
        local other = nn.MultiheadAttention(6, 2, { kdim = 3, vdim = 5, bias = false })
            :state_dict()
        check.equal(other.k_proj_weight.shape, { 6, 3 })
        check.equal(other.v_proj_weight.shape, { 6, 5 })
        check.equal(other.in_proj_bias, nil)
        check.fails("4 heads do not divide a width of 6", nn.MultiheadAttention, 6, 4)
    end)

    it("takes keys and values of other widths", function()
        local layer = nn.MultiheadAttention(4, 2, { kdim = 3, vdim = 5, batch_first = true })
        local x, key, value = mare.randn(2, 3, 4), mare.randn(2, 6, 3), mare.randn(2, 6, 5)
        check.equal(layer(x, key, value).shape, { 2, 3, 4 })
        local same = nn.MultiheadAttention(4, 2)
        local w = same.in_proj_weight
        local function run(weight)
            return nn.functional.multi_head_attention_forward(x, x, x, { heads = 2,
                in_proj_weight = weight, out_proj_weight = same.out_proj.weight })
        end
        check.near(largest(run(w)
            - run { w:narrow(1, 1, 4), w:narrow(1, 5, 4), w:narrow(1, 9, 4) }), 0, 1e-6)
    end)

    it("trains", function()
        local layer = nn.MultiheadAttention(4, 2, { batch_first = true, dropout = 0.1 })
        local x = mare.randn(3, 5, 4)
        layer(x, x, x, { is_causal = true }):square():sum():backward()
        for name, p in layer:named_parameters() do
            check.truthy(p.grad, name)
            check.truthy(largest(p.grad) > 0, name)
        end
        check.equal(layer:eval()(x[1], x[1], x[1]).shape, { 5, 4 })
    end)
end)
