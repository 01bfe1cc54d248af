-- Every call of known answers with tensors of every element type: what it gives for them is what it
-- gives for the same values in f32, or it says that it does not take the type.

local mare = require "mare"
local known = require "known"

local tolerance = { f16 = 4e-3, bf16 = 3e-2, i32 = 2e-5, i8 = 2e-5, u8 = 2e-5, bool = 2e-5 }
local dtypes = { "f16", "bf16", "i32", "i8", "u8", "bool" }

-- Where another result than that of f32 is the rule: calls, and the dtypes.
local otherwise = {
    fmod = "i32 i8 u8", remainder = "i32 i8 u8", -- integers by 0 give 0
    scatter_add = "bool", scatter_reduce = "bool", index_add = "bool", -- a sum of bools is a bool
    index_fill = "bool", masked_fill = "bool", fold = "bool",
}
-- Whose results have a dtype of their own: counts, the state of an iteration.
local own_dtype = { histc = true, histogram = true, spectral_norm = true }

-- The case's arguments with its f32 tensors rounded to a dtype: in that dtype, and in f32.
local function rounded(case, dtype)
    local plain = known.arguments(case)
    local narrow, wide, any = {}, {}, false
    local function both(t)
        if not mare.is_tensor(t) or t.dtype ~= "f32" then return t, t end
        any = true
        local small = t:detach():to(dtype):eval()
        return small, small:to("f32"):eval()
    end
    for i = 1, case.n + (case.options and 1 or 0) do
        local a = plain[i]
        if type(a) == "table" and not mare.is_tensor(a) then
            narrow[i], wide[i] = {}, {}
            for k, t in pairs(a) do narrow[i][k], wide[i][k] = both(t) end
        else
            narrow[i], wide[i] = both(a)
        end
    end
    return any and narrow or nil, wide
end

local function run(case, dtype)
    local narrow, wide = rounded(case, dtype)
    if not narrow then return false end
    local n = case.n + (case.options and 1 or 0)
    local results = table.pack(pcall(known.call(case), table.unpack(narrow, 1, n)))
    if not results[1] then
        local message = tostring(results[2])
        if not message:find("%f[%w]" .. dtype .. "%f[%W]") and not message:find("floats") then
            error(("%s is refused without a word about it: %s"):format(dtype, message))
        end
        return "refused"
    end
    local expected = { known.call(case)(table.unpack(wide, 1, n)) }
    for i, e in ipairs(expected) do
        local shape = {}
        for d = 1, e.ndim do shape[d] = e.shape[d] end
        local got = results[i + 1]
        if (otherwise[case.call] or ""):find("%f[%w]" .. dtype .. "%f[%W]") then return true end
        known.compare("result " .. i, got, e:float():reshape(-1):totable(), shape,
            tolerance[dtype])
        local half = dtype:find("f", 1, true) and got:is_floating_point()
        if half and got.dtype ~= dtype and not own_dtype[case.call] then
            error(("result %d is %s"):format(i, got.dtype))
        end
    end
    return true
end

known.each(function(family, cases)
    describe(family, function()
        local seen = {}
        for i, case in ipairs(cases) do
            if not seen[case.call] then
                seen[case.call] = true
                for _, dtype in ipairs(dtypes) do
                    it(("%s, case %d, in %s"):format(case.call, i, dtype),
                        function() run(case, dtype) end)
                end
            end
        end
    end)
end)
