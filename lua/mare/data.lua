--- Data sets and loaders.
---
---     local train, test = data.mnist{ dir = "mnist" }
---     local loader = data.DataLoader(train, { batch = 64, shuffle = true, seed = 1 })
---     for images, labels in loader:iter() do ... end

local mare = require "mare"

local data = {}

local function is_array(value)
    local meta = type(value) == "userdata" and debug.getmetatable(value)
    return meta and meta.__name == "mare.array" or false
end

--- splitmix64: numbers in [0, 1) out of a seed, apart from the device's random stream.
local function random(seed)
    local state = seed
    return function()
        state = state + 0x9e3779b97f4a7c15
        local z = state
        z = (z ~ (z >> 30)) * 0xbf58476d1ce4e5b9
        z = (z ~ (z >> 27)) * 0x94d049bb133111eb
        return ((z ~ (z >> 31)) >> 11) * 2.0 ^ -53
    end
end

--- Shuffles a list in place, the same way for the same seed.
local function shuffle(list, seed)
    local draw = random(seed)
    for i = #list, 2, -1 do
        local j = 1 + math.floor(draw() * i)
        list[i], list[j] = list[j], list[i]
    end
    return list
end

---Samples: several arrays (host arrays, of which a loader makes batches in worker threads) or
---several tensors (already on the device) with one first dimension.
---@class mare.data.Dataset
---@field sources table[] what the samples are made of
---@field positions? integer[] the samples that take part, from 1; nil: all
---@field count integer
---@field host boolean
local Dataset = {}
Dataset.__index = Dataset
Dataset.__name = "mare.data.Dataset"

function Dataset:__len() return self.count end

function Dataset:__tostring()
    return ("Dataset of %d samples, %d arrays each"):format(self.count, #self.sources)
end

---The first n samples, or all when there are fewer. nil: all.
---@param n? integer
---@return mare.data.Dataset
function Dataset:first(n)
    if not n or n >= self.count then return self end
    local positions = {}
    for i = 1, n do positions[i] = i end
    return data.Subset(self, positions)
end

---A data set of arrays or tensors with the same first dimension. Each entry is a tensor, a nested
---table of numbers, a host array (mare.read_idx and friends), or {array, dtype =, scale =, shift =,
---sample_shape =}: batches are then array * scale + shift.
---@param entries table
---@return mare.data.Dataset
function data.TensorDataset(entries)
    local self = { sources = {}, host = nil, count = nil }
    if type(entries) ~= "table" or #entries == 0 then
        mare.fail("TensorDataset: give a list of tensors, tables or host arrays")
    end
    for i, entry in ipairs(entries) do
        local source, host
        if is_array(entry) then
            source, host = { entry }, true
        elseif type(entry) == "table" and is_array(entry[1]) then
            source, host = entry, true
        elseif mare.is_tensor(entry) then
            source, host = entry:detach(), false
        elseif type(entry) == "table" then
            source, host = mare.tensor(entry), false
        else
            mare.fail("TensorDataset: entry %d is a %s", i, type(entry))
        end
        if self.host ~= nil and self.host ~= host then
            mare.fail("TensorDataset: host arrays and tensors cannot be mixed; "
                .. "array:tensor() makes a tensor")
        end
        self.host = host
        local shape = host and source[1].shape or source.shape
        local n = shape[1]
        if not n then mare.fail("TensorDataset: entry %d is a scalar", i) end
        if self.count and n ~= self.count then
            mare.fail("TensorDataset: entry %d has %d samples, the others have %d", i, n,
                self.count)
        end
        self.count, self.sources[i] = n, source
    end
    return setmetatable(self, Dataset)
end

---Some samples of a data set.
---@param dataset mare.data.Dataset
---@param positions integer[] from 1, in any order
---@return mare.data.Dataset
function data.Subset(dataset, positions)
    local mapped = {}
    for i, position in ipairs(positions) do
        local p = math.tointeger(position)
        if not p or p < 1 or p > dataset.count then
            mare.fail("Subset: position %s is not in 1..%d", tostring(position), dataset.count)
        end
        mapped[i] = dataset.positions and dataset.positions[p] or p
    end
    return setmetatable({
        sources = dataset.sources,
        host = dataset.host,
        positions = mapped,
        count = #mapped,
    }, Dataset)
end

---Splits at random into parts of given sizes, or given shares when they sum to 1.
---@param dataset mare.data.Dataset
---@param parts number[] sizes that sum to the whole, or shares that sum to 1
---@param seed? integer default 0
---@return mare.data.Dataset ...
function data.random_split(dataset, parts, seed)
    local sum = 0
    for _, part in ipairs(parts) do sum = sum + part end
    local sizes, left = {}, dataset.count
    if math.abs(sum - 1) < 1e-9 and dataset.count ~= 1 then
        for i, part in ipairs(parts) do
            sizes[i] = i == #parts and left or math.min(left, math.floor(part * dataset.count))
            left = left - sizes[i]
        end
    elseif sum == dataset.count then
        sizes = parts
    else
        mare.fail("random_split: the parts sum to %s; they must sum to 1 or to the %d samples",
            tostring(sum), dataset.count)
    end
    local order, from, result = {}, 0, {}
    for i = 1, dataset.count do order[i] = i end
    shuffle(order, seed or 0)
    for i, size in ipairs(sizes) do
        result[i] = data.Subset(dataset, table.move(order, from + 1, from + size, 1, {}))
        from = from + size
    end
    return table.unpack(result)
end

---@class mare.data.DataLoader
---@field dataset mare.data.Dataset
---@field batch integer
---@field epoch integer number of the pass that iter() starts next, from 1
local DataLoader = {}
DataLoader.__index = DataLoader
DataLoader.__name = "mare.data.DataLoader"

function DataLoader:__len()
    local n, batch = self.dataset.count, self.batch
    return self.drop_last and n // batch or (n + batch - 1) // batch
end

--- One pass over tensors on the device: batches are taken by index.
local function device_pass(self, epoch, start)
    local set, position = self.dataset, start * self.batch
    local order = {}
    for i = 1, set.count do order[i] = (set.positions and set.positions[i] or i) - 1 end
    if self.shuffle then shuffle(order, self.seed * 0x9e3779b1 + epoch) end
    local last = #self * self.batch
    return function()
        if position >= last or position >= #order then return nil end
        local index = table.move(order, position + 1,
            math.min(position + self.batch, #order), 1, {})
        position = position + self.batch
        local indices, result = mare.tensor(index, { dtype = "i32" }), {}
        for i, source in ipairs(set.sources) do result[i] = source:take(indices, 1) end
        mare.eval(result)
        return table.unpack(result)
    end
end

--- One pass over host arrays, assembled ahead by worker threads.
local function host_pass(self, epoch, start)
    local set = self.dataset
    local pass = mare.loader {
        arrays = set.sources,
        batch = self.batch,
        shuffle = self.shuffle,
        seed = self.seed,
        epoch = epoch,
        start_batch = start,
        workers = self.workers,
        drop_last = self.drop_last,
        indices = set.positions,
    }
    return function() return pass:next() end
end

---Starts a pass: `for images, labels in loader:iter() do`. Each pass is the next epoch, with an
---order of its own when shuffled. The workers of a pass that was left early stop when it is
---collected. (It is no to-be-closed value of the loop: Lua 5.4.4 closes the wrong variables when
---such a loop has a `break` and a closure over its variables.)
---@param options? {epoch?: integer, start?: integer} epoch from 1; start: batches to leave out
---@return fun(): mare.tensor?, mare.tensor?
function DataLoader:iter(options)
    local epoch = options and options.epoch or self.epoch
    local start = options and options.start or 0
    self.epoch = epoch + 1
    return (self.dataset.host and host_pass or device_pass)(self, epoch, start)
end

---@class mare.data.loading
---@field batch? integer samples a batch, default 32
---@field shuffle? boolean default false
---@field seed? integer of the shuffle, default 0
---@field workers? integer threads that assemble batches of host arrays, default 2
---@field drop_last? boolean leave out a last batch that is not full, default false

---Makes batches of a data set.
---@param dataset mare.data.Dataset
---@param options? mare.data.loading
---@return mare.data.DataLoader
function data.DataLoader(dataset, options)
    options = options or {}
    local known = { batch = 32, shuffle = false, seed = 0, workers = 2, drop_last = false }
    for name, value in pairs(options) do
        if known[name] == nil then
            mare.fail("DataLoader: there is no option '%s'", tostring(name))
        end
        if math.type(value) ~= math.type(known[name]) or type(value) ~= type(known[name]) then
            mare.fail("DataLoader: %s cannot be %s", name, tostring(value))
        end
        known[name] = value
    end
    if getmetatable(dataset) ~= Dataset then
        mare.fail("DataLoader: give a data set, such as data.TensorDataset{...}")
    end
    if known.batch < 1 then mare.fail("DataLoader: batch must be 1 or more") end
    known.dataset, known.epoch = dataset, 1
    return setmetatable(known, DataLoader)
end

for name, f in pairs(require "mare.data.sets") do data[name] = f end

return data
