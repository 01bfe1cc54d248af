--- Attention and recurrent layers.

local mare = require "mare"
local nn = require "mare.nn"
local data = require "cases.data"

local random, leaf, FLOATS = data.random, data.leaf, data.FLOATS

local HEADS, HEAD, TOKENS, CACHED = 8, 64, 256, 1024

-- Both products of a query with a key it sees, and of its weight with a value.
local function flops_of(heads, seen) return 4 * heads * seen * HEAD end

local function attend(options)
    return function(dtype)
        local q = random(dtype, 1, HEADS, TOKENS, HEAD)
        local k = random(dtype, 1, options.keys or HEADS, TOKENS, HEAD)
        local v = random(dtype, 1, options.keys or HEADS, TOKENS, HEAD)
        local seen = options.causal and TOKENS * (TOKENS + 1) / 2 or TOKENS ^ 2
        local function forward()
            return mare.scaled_dot_product_attention(q, k, v, nil,
                { is_causal = options.causal, enable_gqa = options.keys ~= nil })
        end
        local work = { inputs = { q, k, v }, run = forward, flops = flops_of(HEADS, seen) }
        if options.backward then
            leaf(q)
            leaf(k)
            leaf(v)
            local gy = random(dtype, 1, HEADS, TOKENS, HEAD)
            -- Five products in place of two, and those of the forward pass.
            work.flops, work.inputs[4] = 3.5 * work.flops, gy
            function work.run() return table.unpack(mare.gradients(forward(), { q, k, v }, gy)) end
        end
        return work
    end
end

-- One token after CACHED others: its key and value enter the caches, its query sees all of them.
local function decode(dtype)
    local q, k, v = data.several(3, dtype, 1, HEADS, 1, HEAD)
    local keys, values = data.several(2, dtype, 1, HEADS, CACHED + 1, HEAD)
    return {
        inputs = { q, keys, values }, flops = flops_of(HEADS, CACHED + 1),
        run = function()
            keys:assign(mare.kv_cache_update(keys, k, CACHED))
            values:assign(mare.kv_cache_update(values, v, CACHED))
            local y <close> = mare.scaled_dot_product_attention(q, keys, values, nil,
                { is_causal = true, causal_offset = CACHED })
            mare.eval(y, keys, values)
        end,
    }
end

local SIZE, STEPS, BATCH = 256, 64, 32

local function recurrent(kind, gates, backward)
    return function(dtype)
        local layer = nn[kind](SIZE, SIZE):to(dtype)
        local x = random(dtype, STEPS, BATCH, SIZE)
        local inputs = { x }
        for _, p in ipairs(layer:parameters()) do inputs[#inputs + 1] = p end
        local work = {
            inputs = inputs, flops = 2 * STEPS * BATCH * gates * SIZE * (SIZE + SIZE),
            run = function()
                return mare.no_grad(function() return (layer(x)) end)
            end,
        }
        if backward then
            leaf(x)
            local gy = random(dtype, STEPS, BATCH, SIZE)
            -- The gradients of data and weights take as much as the forward pass, each.
            work.flops = 3 * work.flops
            function work.run()
                return table.unpack(mare.gradients((layer(x)), inputs, gy))
            end
        end
        return work
    end
end

return function(add)
    local name = "8 heads of 64, 256 tokens"
    add("attention", name, FLOATS, attend {})
    add("attention", name .. ", causal", { "f32", "f16" }, attend { causal = true })
    add("attention", name .. ", 2 of keys", { "f32" }, attend { keys = 2 })
    add("attention", name .. ", backward", { "f32", "f16" }, attend { backward = true })
    add("attention", "causal, backward", { "f32" }, attend { causal = true, backward = true })
    add("attention", "1 token after 1024 in a cache", { "f32", "f16" }, decode)
    for _, kind in ipairs { { "LSTM", 4 }, { "GRU", 3 } } do
        local layer = kind[1] .. " 256 to 256, 64 steps, b32"
        add("recurrent", layer, { "f32", "f16" }, recurrent(kind[1], kind[2], false))
        add("recurrent", layer .. ", both", { "f32" }, recurrent(kind[1], kind[2], true))
    end
end
