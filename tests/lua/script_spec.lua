-- What a script meets around tensors: printing, evaluation, files, loaders, the module.

local mare = require "mare"
local binding = require "binding"
local close, is, equal, shaped = binding.close, binding.is, binding.equal, binding.shaped
local fails, temporary, seq = binding.fails, binding.temporary, binding.seq

describe("printing", function()
    local device = mare.device().name
    it("shows values, shape, type and device", function()
        equal(tostring(mare.tensor(1.5)), "1.5  f32 [], " .. device)
        equal(tostring(mare.tensor { 1, 2.25 }), "[1.00, 2.25]  f32 [2], " .. device)
        equal(tostring(mare.tensor { { 1, -10 }, { 0.5, 3 } }),
            "[[  1.0, -10.0],\n [  0.5,   3.0]]\nf32 [2, 2], " .. device)
        equal(tostring(mare.tensor({ 1, 100 }):int()), "[  1, 100]  i32 [2], " .. device)
        equal(tostring(mare.tensor { true, false }), "[ true, false]  bool [2], " .. device)
        equal(tostring(mare.zeros(0)), "[]  f32 [0], " .. device)
        equal(tostring(mare.tensor { 1e-9, 1 }),
            "[1.0000e-09, 1.0000e+00]  f32 [2], " .. device)
        equal(tostring(mare.tensor { 0 / 0, 1 / 0, 1 }):match("^%[.-%]"), "[nan, inf, 1.0]")
        equal(tostring(mare.tensor { 1 / 3 }):match("^%[.-%]"), "[0.3333]")
        equal(tostring(mare.zeros(2, { requires_grad = true })):match("requires_grad"),
            "requires_grad")
        equal(select(2, tostring(mare.zeros(2, 2, 2)):gsub("\n", "")), 5)
    end)
    it("elides what is long", function()
        local text = tostring(mare.arange(2000))
        equal(text, "[   0,    1,    2, ..., 1997, 1998, 1999]  i32 [2000], " .. device)
        text = tostring(mare.zeros(100, 100))
        equal(select(2, text:gsub("%.%.%.", "")), 7)
        equal(select(2, text:gsub("0%.0", "")), 36)
        equal(#tostring(mare.zeros(1000)) > 3000, true)
    end)
    it("needs no gradient and leaves no trace", function()
        local x = mare.zeros(3000, { requires_grad = true })
        equal(tostring(x) == tostring(x), true)
        equal(x:evaluated(), true)
    end)
end)

describe("evaluation", function()
    it("takes tensors and nested tables", function()
        local a, b, c = mare.ones(2) + 1, mare.ones(2) + 2, mare.ones(2) + 3
        equal(a:evaluated(), false)
        local t = { b, deep = { c } }
        t.self = t
        local x, y = mare.eval(a, t)
        equal(x, a)
        equal(y, t)
        equal(a:evaluated() and b:evaluated() and c:evaluated(), true)
        equal((a + 1):eval():evaluated(), true)
        fails(function() mare.eval(3) end, "eval: expected a tensor")
        local deep = {}
        for _ = 1, 100000 do deep = { deep } end
        fails(function() mare.eval(deep) end, "nested more than 200 deep")
        mare.eval()
    end)
    it("errors tell the line of the call, also from inside the library", function()
        local line = debug.getinfo(1, "l").currentline + 3
        local message = fails(function()
            local index = mare.arange(3) + 5
            return mare.ones(3):take(index, 1):totable()
        end, "take: index 7 is outside 0%.%.2")
        equal(message:match(":(%d+):"), tostring(line))
        line = debug.getinfo(1, "l").currentline + 3
        message = fails(function()
            local x = mare.ones(3)
            x:split(2, 2)
        end, "split: ")
        equal(message:match(":(%d+):"), tostring(line))
    end)
    it("out of memory is an error that leaves the context usable", function()
        collectgarbage()
        mare.trim_memory()
        mare.set_memory_cap(mare.memory().used + 1000000)
        local ok, message = pcall(function() return (mare.rand(1024, 1024) + 1):eval() end)
        mare.set_memory_cap(0)
        equal(ok, false)
        equal(message:match("memory") ~= nil, true)
        mare.set_memory_cap(mare.memory().used + 1000000)
        message = fails(function() return tostring(mare.rand(1024, 1024)) end, "tostring: .*memory")
        mare.set_memory_cap(0)
        equal(message:match("__"), nil)
        is(mare.ones(2) + 1, { 2, 2 })
    end)
    it("frees what is no longer reachable", function()
        mare.eval(mare.zeros(1024, 256)) -- 1 MiB
        collectgarbage()
        local before = mare.memory().used
        for _ = 1, 200 do
            local x = mare.rand(1024, 256)
            mare.eval(x)
        end
        local used = mare.memory().used
        equal(used < before + 80 * 1024 * 1024, true)
    end)
    it("collects and tries again when the cap is reached", function()
        collectgarbage()
        mare.trim_memory()
        mare.set_memory_cap(mare.memory().used + 24 * 1024 * 1024)
        local ok, message = pcall(function()
            for _ = 1, 40 do mare.eval(mare.rand(1024, 1024)) end -- 4 MiB each
        end)
        local whole, told = pcall(function()
            local kept = {}
            for i = 1, 20 do kept[i] = mare.rand(1024, 1024):eval() end
            return kept
        end)
        mare.set_memory_cap(0)
        if not ok then error(message) end
        equal(whole, false)
        equal(told:match("memory") ~= nil, true)
        is(mare.ones(2) + 1, { 2, 2 })
    end)
    it("figures", function()
        local m, s, d = mare.memory(), mare.stats(), mare.device()
        equal(m.peak >= m.used and m.cap == 0, true)
        equal(s.evals > 0 and s.nodes >= 0, true)
        equal(type(d.name) == "string" and d.workgroup >= 128 and type(d.features) == "table", true)
        equal(#mare.devices() >= 1, true)
        mare.eval((mare.ones(4, 64) + 1):sum(1) * 2)
        local p = mare.plan()
        equal(p.launches > p.barriers and p.barriers >= 0, true)
        equal(p.bound <= p.arena and p.arena <= p.sum, true)
        mare.synchronize()
        fails(function() mare.init { seed = 1 } end, "there is a context already")
        fails(function() mare.init { sed = 1 } end, "unknown option 'sed'")
        fails(function() mare.set_memory_cap(-1) end, "%-1 bytes")
        fails(function() mare.set_passes "fuze" end, '"fuze" is none of all, none, ')
    end)
end)

describe("files", function()
    it("safetensors", function()
        local path = temporary(".safetensors")
        local w = seq(2, 3)
        mare.save(path, {
            ["layer.weight"] = w:t(),
            steps = mare.tensor({ 3 }, { dtype = "i32" }),
            half = w:half(),
            bfloat = w:bfloat16(),
            signed = mare.tensor({ -3 }, { dtype = "i8" }),
            flags = mare.tensor { true, false },
        }, { epoch = 7, note = "x" })
        local t, notes = mare.load(path)
        is(t["layer.weight"], { { 1, 4 }, { 2, 5 }, { 3, 6 } })
        equal(t.half.dtype, "f16")
        equal(t.bfloat.dtype, "bf16")
        is(t.bfloat, { { 1, 2, 3 }, { 4, 5, 6 } })
        equal(t.signed.dtype, "i8")
        is(t.signed, { -3 })
        is(t.steps, { 3 })
        is(t.flags, { true, false })
        equal(notes.epoch, "7")
        equal(notes.note, "x")
        os.remove(path)
        fails(function() mare.load(path) end, "load: .*cannot open")
        fails(function() mare.save(path, { w }) end, "a tensor's name must be a string")
        fails(function() mare.save(path, { a = 3 }) end, "'a' must be a tensor, not a number")
        fails(function() mare.save(path, { a = w }, { b = {} }) end, "a value of metadata")
        fails(function() mare.save("/nowhere/x.safetensors", { a = w }) end, "cannot write")
        mare.fs.write(path, "not a safetensors file")
        fails(function() mare.load(path) end, "load: ")
        os.remove(path)
    end)
    it("npy", function()
        local path = temporary(".npy")
        mare.save_npy(path, seq(2, 2):int())
        local x = mare.load_npy(path)
        equal(x.dtype, "i32")
        is(x, { { 1, 2 }, { 3, 4 } })
        os.remove(path)
        fails(function() mare.load_npy(path) end, "load_npy: ")
    end)
    it("pictures", function()
        local path = temporary(".png")
        local x = mare.tensor { { { 0, 255 }, { 128, 1 } }, { { 9, 8 }, { 7, 6 } },
            { { 1, 2 }, { 3, 4 } } }
        mare.imwrite(path, x:byte())
        local y = mare.imread(path)
        equal(y.dtype, "u8")
        is(y, x:int():totable())
        mare.imwrite(path, mare.tensor { { 0, 0.5, 2 } })
        is(mare.imread(path), { { { 0, 128, 255 } } })
        shaped(mare.imread(path, { channels = 3 }), 3, 1, 3)
        fails(function() mare.imwrite(path, mare.tensor { { 0 / 0 } }) end, "NaN")
        fails(function() mare.imwrite(path, mare.zeros(2, 2, 2)) end, "shape %[2, 2, 2%]")
        os.remove(path)
        fails(function() mare.imread(path) end, "imread: ")
    end)
    it("the file system", function()
        local dir = temporary("")
        mare.fs.mkdir(dir .. "/a/b")
        equal(mare.fs.kind(dir .. "/a"), "folder")
        mare.fs.write(dir .. "/a/b/f", "one\0two")
        equal(mare.fs.read(dir .. "/a/b/f"), "one\0two")
        equal(mare.fs.exists(dir .. "/a/b/f"), true)
        mare.fs.remove(dir .. "/a/b/f")
        equal(mare.fs.exists(dir .. "/a/b/f"), false)
        fails(function() mare.fs.read(dir) end, "read: ")
        fails(function() mare.fs.write(dir .. "/none/f", "x") end, "write: ")
        os.remove(dir .. "/a/b")
        os.remove(dir .. "/a")
        os.remove(dir)
        local t = mare.fs.time()
        equal(mare.fs.time() >= t, true)
        equal(mare.fs.terminal_width() > 0, true)
        equal(mare.fs.getenv("MARE_SURELY_NOT_SET"), nil)
    end)
end)

describe("host arrays and the loader", function()
    it("arrays", function()
        local images, labels = mare.digits(20, 1)
        shaped(images, 20, 28, 28)
        equal(images.dtype, "u8")
        equal(#labels, 20)
        equal(tostring(labels), "array u8 [20]")
        is(images:tensor(3, 4), images:tensor():narrow(1, 3, 2):totable())
        shaped(images:tensor(-2), 2, 28, 28)
        shaped(images:tensor(3, 2), 0, 28, 28)
        fails(function() images:tensor(0) end, "positions 0 to")
        fails(function() images:tensor(1, 21) end, "1 to 21 are out of range in shape %[20,")
        fails(function() return images.size end, "no field or method 'size'")
        fails(function() mare.read_idx("/nowhere") end, "read_idx: ")
        is(mare.array({ 1, 2 }, { dtype = "i32" }):tensor(), { 1, 2 })
        is(mare.array(seq(2, 2)):tensor(2), { { 3, 4 } })
    end)
    it("gives batches in order", function()
        local x = mare.array(seq(7, 2))
        local loader = mare.loader {
            arrays = { { x, scale = 2, shift = 1, sample_shape = { 1, 2 } }, x },
            batch = 3,
        }
        equal(#loader, 3)
        local a, b = loader:next()
        is(a, { { { 3, 5 } }, { { 7, 9 } }, { { 11, 13 } } })
        is(b, { { 1, 2 }, { 3, 4 }, { 5, 6 } })
        loader:next()
        is(loader:next(), { { { 27, 29 } } })
        equal(loader:next(), nil)
        loader:close()
        fails(function() loader:next() end, "closed")
    end)
    it("shuffles by seed and epoch", function()
        local x = mare.array(mare.arange(10))
        local function order(options)
            options.arrays, options.batch, options.shuffle = { x }, 4, true
            local all = {}
            for batch in mare.loader(options):iter() do
                for _, v in ipairs(batch:totable()) do all[#all + 1] = v end
            end
            return all
        end
        local first = order { seed = 3, epoch = 1 }
        is(order { seed = 3, epoch = 1, workers = 0 }, first)
        equal(close(order { seed = 3, epoch = 2 }, first, 0), false)
        local sorted = { table.unpack(first) }
        table.sort(sorted)
        is(sorted, { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 })
        is(order { seed = 3, epoch = 1, start_batch = 2 }, { first[9], first[10] })
        equal(#order { seed = 3, drop_last = true }, 8)
    end)
    it("takes subsets: positions from 1 in tables, from 0 in tensors", function()
        local x = mare.array { 10, 20, 30 }
        local function all(indices)
            return mare.loader { arrays = { x }, batch = 5, indices = indices, workers = 0 }:next()
        end
        is(all { 3, 1 }, { 30, 10 })
        is(all(mare.tensor({ 2, 0 }, { dtype = "i32" })), { 30, 10 })
        fails(function() all { 0 } end, "count from 1")
        fails(function() all { 4 } end, "loader: ")
    end)
    it("goes on after a loop that was left, until it is closed", function()
        local loader <close> = mare.loader { arrays = { mare.array(mare.arange(9)) }, batch = 2 }
        local kept = {}
        for x in loader:iter() do
            kept[#kept + 1] = function() return x end -- what Lua 5.4.4 needs care for
            if #kept == 3 then break end
        end
        is(kept[3](), { 4, 5 })
        is(loader:next(), { 6, 7 })
        local step = loader:iter()
        is(step(), { 8 })
        equal(step(), nil)
        loader:close()
        fails(function() loader:next() end, "closed")
        fails(function() step() end, "closed")
    end)
    it("refuses bad options", function()
        local x = mare.array { 1, 2 }
        fails(function() mare.loader {} end, "option arrays")
        fails(function() mare.loader { arrays = { x }, batchsize = 3 } end, "'batchsize'")
        fails(function() mare.loader { arrays = { x }, batch = 0 } end, "loader: ")
        fails(function() mare.loader { arrays = { { x, scale_by = 2 } } } end, "'scale_by'")
        fails(function() mare.loader { arrays = { mare.ones(2) } } end, "host array, not a tensor")
        fails(function() mare.loader { arrays = { x, mare.array { 1 } } } end, "loader: ")
        fails(function() mare.loader { arrays = { x }, workers = -1 } end, "loader: ")
        fails(function() mare.loader { arrays = { x }, start_batch = -1 } end, "loader: ")
    end)
end)

describe("the module", function()
    it("documents every function", function()
        local entries = require("mare.help").entries()
        local missing = {}
        local core = require "mare.core"
        for _, t in ipairs { core.api, core.methods } do
            for name in pairs(t) do
                if not mare.help(name) then missing[#missing + 1] = name end
            end
        end
        table.sort(missing)
        equal(table.concat(missing, " "), "")
        for name, entry in pairs(entries) do
            if type(entry[1]) ~= "string" or type(entry[2]) ~= "string" or #entry ~= 2 then
                error("the entry of " .. name .. " is malformed")
            end
        end
    end)
    it("answers help", function()
        equal(mare.help("sum"):match("^mare.sum%(x, { dim=") ~= nil, true)
        equal(mare.help(mare.matmul):match("Matrix product") ~= nil, true)
        equal(mare.help("mare.exp"):match("mare.exp%(a%)") ~= nil, true)
        equal(mare.help("no such thing"), nil)
        equal(mare.help():match("matmul") ~= nil, true)
        equal(mare.help():match("%f[%w]jacobian%f[%W]") ~= nil, true)
    end)
    it("defines no globals", function()
        for name in pairs(_G) do
            equal(name == "mare" or name == "help", false)
        end
        equal(mare.nonsense, nil)
        equal(type(mare.version), "string")
    end)
    it("fail names the script's line", function()
        fails(function() mare.fail("%d is bad", 3) end, ": 3 is bad$")
    end)
end)

describe("a closed context", function()
    it("leaves the validation layer silent", function()
        equal(mare.stats().validation, 0)
    end)
    it("is replaced, and its tensors are refused", function()
        local old = mare.ones(2)
        local device, caps = mare.fs.getenv("MARE_DEVICE"), mare.fs.getenv("MARE_CAPS")
        mare.close()
        mare.init { device = device, caps = caps, seed = 9 }
        equal(mare.rng_state().seed, 9)
        fails(function() old:sum() end, "a context that was closed")
        fails(function() return old + 1 end, "a context that was closed")
        is(mare.ones(2) + 1, { 2, 2 })
        mare.close()
        fails(function() mare.init { device = "no such device" } end, "init: .*no such device")
        fails(function() mare.init { caps = "no_such_cap" } end, "init: ")
        is(mare.ones(2) + 1, { 2, 2 })
    end)
end)
