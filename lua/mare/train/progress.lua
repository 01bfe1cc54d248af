--- Progress of a pass: a bar on a terminal, a line now and then elsewhere.

local mare = require "mare"

---@class mare.train.Progress
local Progress = {}
Progress.__index = Progress

-- Seconds between updates.
local ON_TERMINAL, IN_PLAIN_LINES = 0.1, 10
local BLOCKS = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }

---Seconds as 1:23:45 or 02:03.
---@param seconds number
---@return string
local function clock(seconds)
    local s = math.floor(seconds + 0.5)
    if s >= 3600 then return ("%d:%02d:%02d"):format(s // 3600, s // 60 % 60, s % 60) end
    return ("%02d:%02d"):format(s // 60, s % 60)
end

local function bar(share, width)
    local eighths = math.floor(share * width * 8)
    local full, rest = eighths // 8, eighths % 8
    local text = ("█"):rep(full) .. (rest > 0 and BLOCKS[rest] or "")
    return text .. (" "):rep(width - full - (rest > 0 and 1 or 0))
end

---Tells how far the pass is, when it is time to.
---@param done integer batches
---@param loss? number
function Progress:update(done, loss)
    if not self.enabled then return end
    local now = mare.fs.time()
    if now - self.shown < (self.terminal and ON_TERMINAL or IN_PLAIN_LINES) then return end
    self.shown = now
    local rate = (done - self.first) / math.max(now - self.began, 1e-9)
    local text = ("%d/%d  %.0f samples/s%s  %s left"):format(done, self.total, rate * self.batch,
        loss and ("  loss %.4f"):format(loss) or "", clock((self.total - done) / rate))
    local share = done / self.total
    if self.terminal then
        local head = ("%s %3.0f%% "):format(self.label, 100 * share)
        local room = mare.fs.terminal_width() - #head - #text - 4
        if room >= 8 then head = head .. "|" .. bar(share, math.min(room, 40)) .. "| " end
        io.stdout:write("\r\27[K", head, text)
        self.dirty = true
    else
        io.stdout:write(("%s %.0f%%  %s\n"):format(self.label, 100 * share, text))
    end
    io.stdout:flush()
end

---Takes the bar away and prints a last line in its place.
---@param text? string
function Progress:finish(text)
    if self.dirty then io.stdout:write("\r\27[K") end
    self.dirty = false
    if self.enabled and text then io.stdout:write(text, "\n") end
    io.stdout:flush()
end

---@param options {label: string, total: integer, first: integer, batch: integer, enabled: boolean}
---total: batches of the pass, of which `first` are done; batch: samples each
---@return mare.train.Progress
local function create(options)
    local now = mare.fs.time()
    options.terminal = mare.fs.isatty()
    options.began, options.shown = now, options.terminal and 0 or now
    return setmetatable(options, Progress)
end

return { create = create, clock = clock }
