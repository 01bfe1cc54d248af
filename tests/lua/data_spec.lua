local mare = require "mare"
local check = require "check"
local data = require "mare.data"

-- Samples 0..n-1 as [n, 2] tensors and labels, on the host or on the device.
local function numbers(n, host)
    local rows, labels = {}, {}
    for i = 1, n do rows[i], labels[i] = { i - 1, 10 * (i - 1) }, i - 1 end
    local x, y = mare.tensor(rows), mare.tensor(labels, { dtype = "i32" })
    if host then x, y = mare.array(x), mare.array(y) end
    return data.TensorDataset { x, y }
end

-- The labels of the batches of a pass.
local function labels_of(loader, options)
    local batches = {}
    for x, y in loader:iter(options) do
        batches[#batches + 1] = y:totable()
        check.equal((x[{ {}, 2 }] / 10):to("i32"), y)
    end
    return batches
end

local function joined(batches)
    local list = {}
    for _, batch in ipairs(batches) do
        for _, v in ipairs(batch) do list[#list + 1] = v end
    end
    return list
end

local function sorted(list)
    table.sort(list)
    return list
end

for _, host in ipairs { true, false } do
    describe("DataLoader of " .. (host and "host arrays" or "tensors"), function()
        local set = numbers(10, host)

        it("makes batches in order, the last one smaller", function()
            local loader = data.DataLoader(set, { batch = 4 })
            check.equal(#loader, 3)
            check.equal(labels_of(loader), { { 0, 1, 2, 3 }, { 4, 5, 6, 7 }, { 8, 9 } })
            local whole = data.DataLoader(set, { batch = 4, drop_last = true })
            check.equal(#whole, 2)
            check.equal(#labels_of(whole), 2)
        end)

        it("shuffles by seed and epoch, every sample once", function()
            local function loader(seed)
                return data.DataLoader(set, { batch = 3, shuffle = true, seed = seed })
            end
            local a = loader(1)
            local first, second = labels_of(a), labels_of(a)
            check.equal(a.epoch, 3)
            check.equal(sorted(joined(first)), { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 })
            check.equal(sorted(joined(second)), { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 })
            check.fails("got", check.equal, first, second)
            check.equal(labels_of(loader(1), { epoch = 2 }), second)
            check.fails("got", check.equal, labels_of(loader(2)), labels_of(loader(1)))
        end)

        it("goes on in the middle of a pass", function()
            local function loader()
                return data.DataLoader(set, { batch = 3, shuffle = true, seed = 4 })
            end
            local whole = labels_of(loader(), { epoch = 5 })
            check.equal(labels_of(loader(), { epoch = 5, start = 2 }), { whole[3], whole[4] })
        end)

        it("can be left early and started again", function()
            local loader = data.DataLoader(set, { batch = 2 })
            for _ = 1, 3 do
                local batches = 0
                for _, y in loader:iter() do
                    check.equal(y, { 2 * batches, 2 * batches + 1 })
                    batches = batches + 1
                    if batches == 2 then break end
                end
            end
        end)

        it("reads subsets of subsets", function()
            local part = data.Subset(data.Subset(set, { 10, 8, 6, 4 }), { 1, 3 })
            check.equal(#part, 2)
            check.equal(labels_of(data.DataLoader(part, { batch = 4 })), { { 9, 5 } })
            check.equal(#set:first(3), 3)
            check.equal(labels_of(data.DataLoader(set:first(3), { batch = 4 })), { { 0, 1, 2 } })
            check.truthy(set:first(20) == set and set:first() == set)
        end)
    end)
end

describe("DataLoader", function()
    it("gives the same batches with any number of workers", function()
        local set, passes = numbers(50, true), {}
        for workers = 0, 3 do
            passes[workers + 1] = labels_of(data.DataLoader(set,
                { batch = 7, shuffle = true, seed = 9, workers = workers }))
        end
        for i = 2, 4 do check.equal(passes[i], passes[1]) end
    end)

    it("scales, shifts and shapes samples of host arrays", function()
        local array = mare.array(mare.tensor({ { 0, 51 }, { 102, 255 } }, { dtype = "u8" }))
        local set = data.TensorDataset { { array, dtype = "f32", scale = 1 / 255, shift = -1,
            sample_shape = { 2, 1 } } }
        for x in data.DataLoader(set, { batch = 2 }):iter() do
            check.near(x, { { { -1 }, { -0.8 } }, { { -0.6 }, { 0 } } }, 1e-6)
        end
    end)

    it("refuses options that make no sense", function()
        local set = numbers(3, true)
        check.fails("no option 'batch_size'", data.DataLoader, set, { batch_size = 3 })
        check.fails("batch cannot be 1.5", data.DataLoader, set, { batch = 1.5 })
        check.fails("shuffle cannot be 1", data.DataLoader, set, { shuffle = 1 })
        check.fails("1 or more", data.DataLoader, set, { batch = 0 })
        check.fails("give a data set", data.DataLoader, {}, {})
        check.fails("workers", function()
            data.DataLoader(set, { workers = -1 }):iter()
        end)
    end)

    it("tells of an array that was closed under it", function()
        local set
        do
            local array <close> = mare.array(mare.zeros(4, 2))
            set = data.TensorDataset { array }
        end
        check.fails("closed", function() data.DataLoader(set):iter() end)
    end)
end)

describe("TensorDataset", function()
    it("takes nested tables", function()
        local set = data.TensorDataset { { { 1, 2 }, { 3, 4 } }, { 5, 6 } }
        check.equal(#set, 2)
        for x, y in data.DataLoader(set, { batch = 2 }):iter() do
            check.equal(x, { { 1, 2 }, { 3, 4 } })
            check.equal(y, { 5, 6 })
        end
    end)

    it("refuses what does not fit", function()
        local array = mare.array(mare.zeros(3))
        check.fails("entry 2 has 2 samples, the others have 3", data.TensorDataset,
            { mare.zeros(3), mare.zeros(2) })
        check.fails("cannot be mixed", data.TensorDataset, { array, mare.zeros(3) })
        check.fails("entry 1 is a scalar", data.TensorDataset, { mare.tensor(1) })
        check.fails("entry 1 is a string", data.TensorDataset, { "x" })
        check.fails("give a list", data.TensorDataset, {})
        check.fails("position 4 is not in 1..3", data.Subset, numbers(3, true), { 4 })
    end)
end)

describe("random_split", function()
    it("splits by sizes and shares, the same for the same seed", function()
        local set = numbers(10, true)
        local a, b = data.random_split(set, { 7, 3 }, 5)
        check.equal({ #a, #b }, { 7, 3 })
        local all = table.move(b.positions, 1, 3, 8, { table.unpack(a.positions) })
        check.equal(sorted(all), { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
        local c = data.random_split(set, { 0.7, 0.3 }, 5)
        check.equal(c.positions, a.positions)
        check.fails("got", check.equal, data.random_split(set, { 7, 3 }, 6).positions,
            a.positions)
        check.fails("the parts sum to 9", data.random_split, set, { 7, 2 })
    end)
end)

describe("digits", function()
    it("gives normalised images and labels, the test set apart", function()
        local train, test = data.digits { train = 200, test = 50, seed = 3 }
        check.equal({ #train, #test }, { 200, 50 })
        local seen = {}
        for x, y in data.DataLoader(train, { batch = 200 }):iter() do
            check.equal(x.shape, { 200, 1, 28, 28 })
            check.equal(x.dtype, "f32")
            check.equal(y.dtype, "i32")
            check.near(x:min():item(), -0.1307 / 0.3081, 1e-5)
            check.near(x:max():item(), (1 - 0.1307) / 0.3081, 1e-4)
            for _, label in ipairs(y:totable()) do seen[label + 1] = true end
        end
        check.equal(#seen, 10)
        check.equal(#(data.digits { limit = 20 }), 20)
    end)
end)

-- An idx file of u8.
local function write_idx(path, dims, bytes)
    mare.fs.write(path, string.pack(">BBBB", 0, 0, 8, #dims)
        .. string.pack(">" .. ("I4"):rep(#dims), table.unpack(dims)) .. bytes)
end

local function write_mnist(folder, n)
    for _, part in ipairs { "train", "t10k" } do
        write_idx(folder .. "/" .. part .. "-images-idx3-ubyte", { n, 2, 3 }, ("\255"):rep(6 * n))
        write_idx(folder .. "/" .. part .. "-labels-idx1-ubyte", { n }, ("\7"):rep(n))
    end
end

describe("mnist", function()
    it("reads the folder that it is given", function()
        check.in_folder(function(folder)
            write_mnist(folder, 5)
            local train, test = data.mnist { dir = folder, limit = 4 }
            check.equal({ #train, #test }, { 4, 4 })
            for x, y in data.DataLoader(train, { batch = 4 }):iter() do
                check.equal(x.shape, { 4, 1, 2, 3 })
                check.near(x[1][1][1][1]:item(), (1 - 0.1307) / 0.3081, 1e-5)
                check.equal(y, { 7, 7, 7, 7 })
            end
        end)
    end)

    it("says what a folder lacks, where to put it, and offers the built-in digits", function()
        check.in_folder(function(folder)
            write_mnist(folder, 5)
            os.remove(folder .. "/t10k-labels-idx1-ubyte")
            local text = check.fails("lacks t10k%-labels%-idx1%-ubyte", data.mnist,
                { dir = folder })
            check.truthy(text:find("--data DIR", 1, true), text)
            check.truthy(text:find("--digits", 1, true), text)
            check.fails("lacks all of it", data.mnist, { dir = folder .. "/nowhere" })
        end)
    end)

    it("takes no download with a wrong checksum, and says why it failed", function()
        check.in_folder(function(folder)
            -- A curl that brings something else.
            mare.fs.mkdir(folder .. "/bin")
            mare.fs.write(folder .. "/bin/curl",
                '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho other > "$2"\n')
            os.execute(("chmod +x '%s/bin/curl'"):format(folder))
            local child = assert(io.popen(("MARE_DATA= XDG_CACHE_HOME='%s' PATH='%s/bin':$PATH "
                .. "'%s' -e 'print(select(2, pcall(mare.data.mnist)))'"):format(folder, folder,
                arg[-1])))
            local text = child:read("a")
            child:close()
            check.truthy(text:find("train%-images%-idx3%-ubyte.gz: the checksum is wrong"), text)
            check.truthy(text:find("Put its four files", 1, true), text)
            check.truthy(not mare.fs.exists(folder
                .. "/mare/data/mnist/train-images-idx3-ubyte.gz"))
        end)
    end)

    it("refuses truncated files and labels that are not those of the images", function()
        check.in_folder(function(folder)
            write_mnist(folder, 5)
            write_idx(folder .. "/train-images-idx3-ubyte", { 5, 2, 3 }, "short")
            check.fails("train%-images", data.mnist, { dir = folder })
            write_mnist(folder, 5)
            write_idx(folder .. "/train-labels-idx1-ubyte", { 4 }, "\1\2\3\4")
            check.fails("images %[N, H, W%] and labels %[N%] are needed", data.mnist,
                { dir = folder })
        end)
    end)
end)
