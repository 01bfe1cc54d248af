--- Data sets that Mare knows: MNIST, and digits that it draws itself.

local mare = require "mare"

local sets = {}

local MNIST = {
    {
        "train-images-idx3-ubyte",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    },
    {
        "train-labels-idx1-ubyte",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    },
    {
        "t10k-images-idx3-ubyte",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    },
    {
        "t10k-labels-idx1-ubyte",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
}

local MNIST_HOMES = {
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
}

-- Mean and standard deviation of MNIST's training pixels, as shares of 255.
local MNIST_MEAN, MNIST_STD = 0.1307, 0.3081

local function quote(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Runs a command; returns whether it succeeded, and what it wrote.
local function run(command)
    local pipe, message = io.popen(command .. " 2>&1")
    if not pipe then return false, message end
    local output = pipe:read("a")
    return pipe:close() == true, output
end

local function has_program(name)
    return (run("command -v " .. name))
end

--- The path of a file of MNIST in a folder, packed or not; nil when it is not there.
local function find_file(folder, name)
    for _, suffix in ipairs { ".gz", "" } do
        local path = ("%s/%s%s"):format(folder, name, suffix)
        if mare.fs.exists(path) then return path end
    end
end

--- Paths of all four files in a folder, or nil and the names of those that lack.
local function find_all(folder)
    local paths, lacking = {}, {}
    for i, entry in ipairs(MNIST) do
        paths[i] = find_file(folder, entry[1])
        if not paths[i] then lacking[#lacking + 1] = entry[1] .. "[.gz]" end
    end
    if #lacking == 0 then return paths end
    return nil, lacking
end

---Where downloaded data sets are kept: $XDG_CACHE_HOME/mare/data, else ~/.cache/mare/data.
---@return string? path nil when there is no home folder
function sets.cache()
    local cache = os.getenv "XDG_CACHE_HOME"
    if cache and cache ~= "" then return cache .. "/mare/data" end
    local home = os.getenv "HOME"
    if home and home ~= "" then return home .. "/.cache/mare/data" end
end

--- Fetches one file from the first home that has it whole. Returns nil, or why it failed.
local function fetch(name, sum, folder)
    local path = ("%s/%s.gz"):format(folder, name)
    local partial = path .. ".part"
    local reasons = {}
    for _, home in ipairs(MNIST_HOMES) do
        local url = home .. name .. ".gz"
        local command
        if has_program("curl") then
            command = "curl -fsSL --connect-timeout 10 --max-time 600 -o %s %s"
        elseif has_program("wget") then
            command = "wget -q --timeout=10 --tries=2 -O %s %s"
        else
            return "neither curl nor wget is installed"
        end
        local ok, output = run(command:format(quote(partial), quote(url)))
        if ok then
            local summed, line = run("sha256sum " .. quote(partial))
            if not summed then
                reasons[#reasons + 1] = "the program sha256sum is missing"
            elseif line:match("%x+") == sum then
                local renamed, message = os.rename(partial, path)
                if renamed then return nil end
                reasons[#reasons + 1] = message
            else
                reasons[#reasons + 1] = url .. ": the checksum is wrong"
            end
        else
            reasons[#reasons + 1] = ("%s: %s"):format(url,
                output:gsub("%s+$", ""):match("[^\n]*$"))
        end
        os.remove(partial)
    end
    return table.concat(reasons, "; ")
end

--- Downloads what a folder lacks. Returns nil, or why it failed.
local function download(folder)
    local made, message = pcall(mare.fs.mkdir, folder)
    if not made then return message end
    for _, entry in ipairs(MNIST) do
        if not find_file(folder, entry[1]) then
            print(("downloading %s to %s"):format(entry[1], folder))
            local reason = fetch(entry[1], entry[2], folder)
            if reason then return reason end
        end
    end
end

--- Paths of the four files, or nil and a text that says what lacks and what to do.
local function find_mnist(options)
    local tried = {}
    local function try(folder)
        local paths, lacking = find_all(folder)
        if paths then return paths end
        tried[#tried + 1] = ("  %s lacks %s"):format(folder,
            #lacking == #MNIST and "all of it" or table.concat(lacking, ", "))
    end
    local failed = "MNIST is not here:\n%s\nPut its four files (%s), packed (.gz) or not, into a "
        .. "folder and name it: data.mnist{dir = ...}, in the examples --data DIR. Or go on with "
        .. "digits that Mare draws itself: data.mnist{digits = true}, in the examples --digits."
    local names = {}
    for i, entry in ipairs(MNIST) do names[i] = entry[1] end
    local function fail()
        return nil, failed:format(table.concat(tried, "\n"), table.concat(names, ", "))
    end

    if options.dir then
        local paths = try(options.dir)
        if paths then return paths end
        return fail()
    end
    local home = os.getenv "MARE_DATA"
    if home and home ~= "" then
        local paths = try(home .. "/mnist")
        if paths then return paths end
    end
    local cache = sets.cache()
    if not cache then
        tried[#tried + 1] = "  there is no home folder to keep a download in"
        return fail()
    end
    cache = cache .. "/mnist"
    local paths = try(cache)
    if paths then return paths end
    if options.download == false then return fail() end
    local reason = download(cache)
    if reason then
        tried[#tried + 1] = "  download: " .. reason
        return fail()
    end
    return assert(find_all(cache))
end

local function image_set(images, labels, mean, std)
    local data = require "mare.data"
    local shape = images.shape
    return data.TensorDataset {
        {
            images,
            dtype = "f32",
            scale = 1 / (255 * std),
            shift = -mean / std,
            sample_shape = { 1, shape[2], shape[3] },
        },
        { labels, dtype = "i32" },
    }
end

---@class mare.data.mnist
---@field dir? string the folder of the four files
---@field download? boolean default true
---@field limit? integer first so many samples of each part
---@field digits? boolean go on with data.digits when MNIST is not to be had
---@field seed? integer of those digits

---MNIST: 60,000 training and 10,000 test images [N, 1, 28, 28] with labels [N] from 0 to 9, with
---mean 0 and standard deviation 1. Looked for in `dir` alone if it is given, else in
---$MARE_DATA/mnist and in the cache, where it is downloaded to.
---@param options? mare.data.mnist
---@return mare.data.Dataset train
---@return mare.data.Dataset test
function sets.mnist(options)
    options = options or {}
    local paths, why = find_mnist(options)
    if not paths then
        if not options.digits then mare.fail("%s", why) end
        print((why:gsub("\nPut its.*$", "")))
        print("going on with digits that Mare draws itself")
        return sets.digits { limit = options.limit, seed = options.seed }
    end
    local parts = {}
    for i = 1, 3, 2 do
        local images, labels = mare.read_idx(paths[i]), mare.read_idx(paths[i + 1])
        local shape, count = images.shape, labels.shape
        if #shape ~= 3 or #count ~= 1 or shape[1] ~= count[1] then
            mare.fail("mnist: %s is %s and %s is %s: images [N, H, W] and labels [N] are needed",
                paths[i], shape, paths[i + 1], count)
        end
        parts[#parts + 1] = image_set(images, labels, MNIST_MEAN, MNIST_STD):first(options.limit)
    end
    return parts[1], parts[2]
end

---Digits that Mare draws itself, shaped like MNIST: for when that is not at hand, and for tests.
---@param options? {train?: integer, test?: integer, limit?: integer, seed?: integer}
---@return mare.data.Dataset train default 10,000 samples
---@return mare.data.Dataset test default 2,000 samples
function sets.digits(options)
    options = options or {}
    local limit, seed = options.limit or math.huge, options.seed or 0
    local function make(n, test)
        local images, labels = mare.digits(math.tointeger(math.min(n, limit)), seed,
            { test = test })
        return image_set(images, labels, MNIST_MEAN, MNIST_STD)
    end
    return make(options.train or 10000, false), make(options.test or 2000, true)
end

return sets
