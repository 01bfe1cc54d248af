--- Trainer: epochs, validation, metrics, progress, a log, checkpoints.
---
---     local trainer = train.Trainer {
---         model = model, loss = nn.CrossEntropyLoss(), optimizer = opt,
---         metrics = { accuracy = metrics.accuracy },
---         train_loader = loader, val_loader = val, epochs = 3,
---         checkpoint = { dir = "out", every = 500 }, resume = true, log = "out/log.csv",
---     }
---     trainer:run()
---
--- A run that is stopped and resumed from its checkpoint ends with the same numbers, to the bit, as
--- one that was never stopped.

local mare = require "mare"
local checkpoint = require "mare.train.checkpoint"
local metrics = require "mare.metrics"
local open_log = require "mare.train.log"
local progress = require "mare.train.progress"

local train = {}

---@class mare.train.Trainer
---@field model mare.nn.Module
---@field optimizer mare.optim.Optimizer
---@field epoch integer the present pass, from 1
---@field batch integer batches of it that are done
---@field step integer batches done over all passes
---@field history table[] one row an epoch: epoch, step, loss, metrics, val_loss, ...
---@field stopped boolean whether Ctrl-C or stop() ended the run early
local Trainer = {}
Trainer.__index = Trainer
Trainer.__name = "mare.train.Trainer"

local KNOWN = {
    model = "table", loss = "callable", optimizer = "table", train_loader = "table",
    val_loader = "table", epochs = "number", metrics = "table", checkpoint = "table",
    log = "string", log_every = "number", resume = "boolean", callbacks = "table",
    progress = "boolean",
}
-- What rows hold besides metrics.
local RESERVED = {
    loss = true, kind = true, epoch = true, step = true, batch = true, lr = true, seconds = true,
    count = true, measured = true,
}
local NEEDED = { "model", "loss", "optimizer", "train_loader" }

local function is_callable(value)
    local meta = getmetatable(value)
    return type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
end

local function check_count(name, value, least)
    if value and (not math.tointeger(value) or value < least) then
        mare.fail("Trainer: %s must be a whole number, %d or more, not %s", name, least,
            tostring(value))
    end
end

local function check(options)
    for name, value in pairs(options) do
        local wanted = KNOWN[name]
        if not wanted then
            mare.fail("Trainer: there is no option '%s'", tostring(name))
        end
        if wanted == "callable" and not is_callable(value)
            or wanted ~= "callable" and type(value) ~= wanted then
            mare.fail("Trainer: %s must be a %s, not %s", name,
                wanted == "callable" and "function or module" or wanted, tostring(value))
        end
    end
    for _, name in ipairs(NEEDED) do
        if options[name] == nil then mare.fail("Trainer: %s is missing", name) end
    end
    local c = options.checkpoint
    if c and type(c.dir) ~= "string" then mare.fail("Trainer: checkpoint needs a dir") end
    check_count("epochs", options.epochs, 1)
    check_count("log_every", options.log_every, 0)
    check_count("every", c and c.every, 1)
    for _, name in ipairs { "train_loader", "val_loader" } do
        if options[name] and #options[name] == 0 then
            mare.fail("Trainer: the %s has no batch", name)
        end
    end
end

--- Names of the metrics in a fixed order.
local function metric_names(list)
    local names = {}
    for name, f in pairs(list) do
        if type(name) ~= "string" or not is_callable(f) then
            mare.fail("Trainer: metrics is a table {name = function(output, target)}")
        end
        if RESERVED[name] or name:find("^val_") or name:find("[^%w_]") then
            mare.fail("Trainer: a metric cannot be named '%s'", name)
        end
        names[#names + 1] = name
    end
    table.sort(names)
    return names
end

--- Sums of a pass: one Mean for the loss and one a metric.
local function new_means(self)
    local means = { loss = metrics.Mean() }
    for _, name in ipairs(self.metric_names) do means[name] = metrics.Mean() end
    return means
end

local function values_of(means)
    local values = {}
    for name, mean in pairs(means) do values[name] = mean:value() end
    return values
end

local function notify(self, event, info)
    for _, callbacks in ipairs(self.callbacks) do
        if callbacks[event] then callbacks[event](self, info) end
    end
end

--- The lazy metrics of a batch, in the order of their names.
local function measure(self, output, target)
    local list = {}
    mare.no_grad(function()
        for i, name in ipairs(self.metric_names) do
            list[i] = self.metrics[name](output, target)
        end
    end)
    return list
end

--- Adds what a batch gave to the sums of its pass. Returns its loss.
local function account(self, means, batch)
    local loss = batch.loss:item()
    means.loss:add(loss, batch.count)
    for i, name in ipairs(self.metric_names) do
        batch[name] = batch.measured[i]:item()
        means[name]:add(batch[name], batch.count)
    end
    return loss
end

--- Reads what the last step left. This comes one step late, so that the device has the next step
--- already when it is waited for.
local function settle(self)
    local pending = self.pending
    if not pending then return end
    self.pending = nil
    local loss = account(self, self.means, pending)
    if loss - loss ~= 0 then -- NaN or infinite
        mare.fail("Trainer: the loss is %s at step %d (epoch %d, batch %d); %s", loss,
            pending.step, pending.epoch, pending.batch, self.last_finite
            and ("the last finite loss was %.6g at step %d"):format(self.last_finite,
                pending.step - 1)
            or "there was no finite one before")
    end
    self.last_finite = loss
    self.smooth:add(loss)
    pending.loss, pending.measured = loss, nil
    if self.log and self.log_every > 0 and pending.step % self.log_every == 0 then
        pending.kind, pending.seconds = "step", self:elapsed()
        self.log:write(pending)
    end
    notify(self, "on_step", pending)
end

--- One batch: forward, backward and update, evaluated together.
local function train_step(self, input, target)
    notify(self, "before_step", { step = self.step + 1, epoch = self.epoch })
    self.optimizer:zero_grad()
    local output = self.model(input)
    local loss = self.loss(output, target)
    local measured = measure(self, output, target)
    loss:backward()
    self.optimizer:step(loss, measured)
    self.step, self.batch = self.step + 1, self.batch + 1
    settle(self)
    self.pending = {
        loss = loss, measured = measured, count = input.shape[1], step = self.step,
        epoch = self.epoch, batch = self.batch, lr = self.optimizer.groups[1].lr,
    }
end

---Seconds that the run took so far, those before it was stopped included.
---@return number
function Trainer:elapsed()
    return self.seconds + (mare.fs.time() - self.started)
end

---Mean loss and metrics over a loader, in evaluation mode; nil when the run is being stopped.
---@param loader mare.data.DataLoader
---@return table<string, number>?
function Trainer:evaluate(loader)
    local means, was, before = new_means(self), self.model.training, nil
    self.model:eval()
    for input, target in loader:iter { epoch = 1 } do
        if self.stopping then break end
        local batch = { count = input.shape[1] }
        mare.no_grad(function()
            local output = self.model(input)
            batch.loss, batch.measured = self.loss(output, target), measure(self, output, target)
        end)
        mare.eval(batch.loss, batch.measured)
        if before then account(self, means, before) end
        before = batch
    end
    if before then account(self, means, before) end
    self.model:train(was)
    return not self.stopping and values_of(means) or nil
end

---Writes a checkpoint.
---@param path? string default: checkpoint.safetensors in the folder given
function Trainer:save(path)
    settle(self)
    path = path or self.path
    if not path then mare.fail("Trainer:save: give a path; there is no checkpoint folder") end
    local loader = self.train_loader
    checkpoint.save(path, self.model, self.optimizer, {
        epoch = self.epoch,
        batch = self.batch,
        step = self.step,
        seconds = self:elapsed(),
        rng = mare.rng_state(),
        means = self.means,
        smooth = self.smooth,
        last_finite = self.last_finite,
        history = self.history,
        log_bytes = self.log and self.log:size() or self.log_bytes,
        loader = { batch = loader.batch, batches = #loader, seed = loader.seed },
    })
    notify(self, "on_checkpoint", { path = path, step = self.step })
end

---Goes back to a checkpoint.
---@param path? string default: checkpoint.safetensors in the folder given
function Trainer:load(path)
    path = path or self.path
    if not path then mare.fail("Trainer:load: give a path; there is no checkpoint folder") end
    local loader = self.train_loader
    local state = checkpoint.load(path, self.model, self.optimizer, function(run)
        local now = { batch = loader.batch, batches = #loader, seed = loader.seed }
        for _, name in ipairs { "batch", "batches", "seed" } do
            if run.loader[name] ~= now[name] then
                mare.fail("%s: the loader's %s was %s then and is %s now; a run goes on only with "
                    .. "the same data in the same order", path, name, run.loader[name], now[name])
            end
        end
    end)
    self.epoch, self.batch, self.step = state.epoch, state.batch, state.step
    self.seconds, self.started = state.seconds, mare.fs.time()
    for name, mean in pairs(self.means) do
        local saved = state.means[name] or metrics.Mean()
        mean.sum, mean.weight = saved.sum, saved.weight
    end
    self.smooth.average, self.smooth.left = state.smooth.average, state.smooth.left
    self.last_finite, self.history, self.pending = state.last_finite, state.history or {}, nil
    self.log_bytes = state.log_bytes
    mare.set_rng_state(state.rng)
end

---Ends the run after the present step; a checkpoint is written if there is a folder for it.
function Trainer:stop() self.stopping = true end

--- The batches that are left of an epoch.
local function run_batches(self, bar)
    local loader, every = self.train_loader, self.every
    if self.batch >= #loader then return end
    self.model:train()
    for input, target in loader:iter { epoch = self.epoch, start = self.batch } do
        train_step(self, input, target)
        bar:update(self.batch, self.smooth:value())
        if every and self.step % every == 0 then self:save() end
        if self.stopping then break end
    end
    settle(self)
end

local function epoch_text(self, row)
    local parts = { ("epoch %d/%d"):format(self.epoch, self.epochs) }
    for _, prefix in ipairs { "", "val_" } do
        for _, name in ipairs { "loss", table.unpack(self.metric_names) } do
            local value = row[prefix .. name]
            if value then parts[#parts + 1] = ("%s %.4f"):format(prefix .. name, value) end
        end
    end
    parts[#parts + 1] = progress.clock(row.seconds)
    return table.concat(parts, "  ")
end

--- One epoch, or what is left of it. False when it was stopped before its end.
local function run_epoch(self)
    self.bar = progress.create {
        label = ("epoch %d/%d"):format(self.epoch, self.epochs),
        total = #self.train_loader,
        first = self.batch,
        batch = self.train_loader.batch,
        enabled = self.progress,
    }
    run_batches(self, self.bar)
    if self.batch < #self.train_loader then return false end
    local row = values_of(self.means)
    if self.val_loader then
        local validation = self:evaluate(self.val_loader)
        if not validation then return false end
        for name, value in pairs(validation) do row["val_" .. name] = value end
    end
    row.epoch, row.step, row.lr = self.epoch, self.step, self.optimizer.groups[1].lr
    row.seconds, row.kind = self:elapsed(), "epoch"
    self.history[#self.history + 1] = row
    if self.log then self.log:write(row) end
    self.bar:finish(epoch_text(self, row))
    self.epoch, self.batch, self.means = self.epoch + 1, 0, new_means(self)
    notify(self, "on_epoch", row)
    if self.path then self:save() end
    return true
end

local function run_all(self)
    while self.epoch <= self.epochs and not self.stopping do
        if not run_epoch(self) then break end
    end
    self.stopped = self.epoch <= self.epochs
    if not self.stopped then return end
    if self.path then self:save() end
    if self.bar then
        self.bar:finish(("stopped at step %d%s"):format(self.step,
            self.path and "; resume goes on from " .. self.path or ""))
    end
end

---Trains to the last epoch. The first Ctrl-C ends the run after the present step, with a
---checkpoint; the second at once.
---@return table[] history one row an epoch
function Trainer:run()
    self.started, self.stopping = mare.fs.time(), false
    if self.resume and self.path and mare.fs.exists(self.path) then self:load() end
    if self.log_path then self.log = open_log(self.log_path, self.columns, self.log_bytes) end
    mare.on_interrupt(function()
        local first = not self.stopping
        self.stopping = true
        return first
    end)
    local ok, message = pcall(run_all, self)
    mare.on_interrupt(nil)
    self.seconds, self.started = self:elapsed(), mare.fs.time()
    if self.log then
        self.log_bytes = self.log:size()
        self.log:close()
        self.log = nil
    end
    if not ok then
        if self.bar then self.bar:finish() end
        error(message, 0)
    end
    return self.history
end

---@class mare.train.callbacks
---@field before_step? fun(trainer: mare.train.Trainer, info: table) the place to change rates
---@field on_step? fun(trainer: mare.train.Trainer, info: table) told when the next one is under way
---@field on_epoch? fun(trainer: mare.train.Trainer, row: table)
---@field on_checkpoint? fun(trainer: mare.train.Trainer, info: table)

---@class mare.train.options
---@field model mare.nn.Module
---@field loss fun(output: mare.tensor, target: mare.tensor): mare.tensor or a module
---@field optimizer mare.optim.Optimizer
---@field train_loader mare.data.DataLoader
---@field val_loader? mare.data.DataLoader
---@field epochs? integer default 1
---@field metrics? table<string, fun(output: mare.tensor, target: mare.tensor): mare.tensor>
---@field checkpoint? {dir: string, every?: integer} after each epoch, and every so many steps
---@field resume? boolean go on from the checkpoint if it is there
---@field log? string a .csv or .jsonl file: a row every log_every steps, and one an epoch
---@field log_every? integer default 1; 0: rows of epochs only
---@field callbacks? mare.train.callbacks[]
---@field progress? boolean default true

---Makes a trainer.
---@param options mare.train.options
---@return mare.train.Trainer
function train.Trainer(options)
    check(options)
    local self = setmetatable({
        model = options.model, loss = options.loss, optimizer = options.optimizer,
        train_loader = options.train_loader, val_loader = options.val_loader,
        epochs = options.epochs or 1, metrics = options.metrics or {},
        metric_names = metric_names(options.metrics or {}),
        log_every = options.log_every or 1, callbacks = options.callbacks or {},
        progress = options.progress ~= false, resume = options.resume,
        epoch = 1, batch = 0, step = 0, seconds = 0.0, started = mare.fs.time(),
        smooth = metrics.Running(), history = {}, stopped = false, log_bytes = 0,
    }, Trainer)
    self.means = new_means(self)
    local saving = options.checkpoint
    if saving then
        self.path, self.every = saving.dir .. "/checkpoint.safetensors", saving.every
    end
    if options.log then
        local columns = { "kind", "epoch", "step", "lr", "loss" }
        table.move(self.metric_names, 1, #self.metric_names, #columns + 1, columns)
        for _, name in ipairs { "loss", table.unpack(self.metric_names) } do
            columns[#columns + 1] = "val_" .. name
        end
        columns[#columns + 1] = "seconds"
        self.log_path, self.columns = options.log, columns
    end
    return self
end

return train
