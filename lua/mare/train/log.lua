--- Logs of a run: rows with fixed columns, as CSV or as JSON lines, by the file's name.

local mare = require "mare"

---@class mare.train.Log
---@field path string
---@field columns string[]
local Log = {}
Log.__index = Log

--- Nine digits tell every f32 apart.
local function number(value)
    if math.type(value) == "integer" then return ("%d"):format(value) end
    return ("%.9g"):format(value)
end

local formats = {}

function formats.csv(columns, record)
    local cells = {}
    for i, name in ipairs(columns) do
        local value = record[name]
        cells[i] = type(value) == "number" and number(value) or value or ""
    end
    return table.concat(cells, ",")
end

function formats.jsonl(columns, record)
    local fields = {}
    for _, name in ipairs(columns) do
        local value = record[name]
        if type(value) == "number" then
            -- JSON has no NaN and no infinity.
            local finite = value == value and value - value == 0
            value = finite and number(value) or "null"
        elseif value then
            value = '"' .. value .. '"'
        end
        if value then fields[#fields + 1] = ('"%s": %s'):format(name, value) end
    end
    return "{" .. table.concat(fields, ", ") .. "}"
end

function Log:line(text)
    local ok, message = self.file:write(text, "\n")
    if ok then ok, message = self.file:flush() end
    if not ok then mare.fail("log: %s: %s", self.path, message) end
end

---Adds a row.
---@param record table<string, number|string> values by column; others are left out
function Log:write(record)
    self:line(self.format(self.columns, record))
end

---Bytes in the file.
---@return integer
function Log:size() return self.file:seek("end") end

function Log:close() self.file:close() end

---Opens a log and keeps the first bytes of what is in it: a resumed run writes again what came
---after its checkpoint.
---@param path string ends in .csv or .jsonl
---@param columns string[]
---@param keep integer bytes
---@return mare.train.Log
return function(path, columns, keep)
    local kind = path:match("%.(%w+)$")
    if not formats[kind] then
        mare.fail("log: '%s' must end in .csv or .jsonl", path)
    end
    local folder = path:match("^(.*)/[^/]*$")
    if folder and folder ~= "" then mare.fs.mkdir(folder) end
    local old = keep > 0 and mare.fs.exists(path) and mare.fs.read(path):sub(1, keep) or ""
    mare.fs.write(path, old)
    local file, message = io.open(path, "a")
    if not file then mare.fail("log: %s", message) end
    local self = setmetatable({
        path = path,
        columns = columns,
        format = formats[kind],
        file = file,
    }, Log)
    if kind == "csv" and old == "" then self:line(table.concat(columns, ",")) end
    return self
end
