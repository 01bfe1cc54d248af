local mare = require "mare"
local check = require "check"
local data = require "mare.data"
local metrics = require "mare.metrics"
local nn = require "mare.nn"
local optim = require "mare.optim"
local Trainer = require("mare.train").Trainer

-- A small network with all that a resumed run must bring back: an optimizer with moments, running
-- statistics, and random numbers in each step.
local function model()
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.BatchNorm1d(16), nn.ReLU(),
        nn.Dropout(0.2), nn.Linear(16, 10))
end

local train_set, test_set = data.digits { train = 200, test = 60, seed = 1 }

-- Runs with the given options over those of all specs. Returns the trainer, the losses by step,
-- and the error if there was one.
local function run(options)
    mare.manual_seed(options.seed or 1)
    local net, losses = model(), {}
    local settings = {
        model = net,
        loss = nn.CrossEntropyLoss(),
        optimizer = optim.Adam(net:parameters(), { lr = 3e-3 }),
        metrics = { accuracy = metrics.accuracy },
        train_loader = data.DataLoader(train_set, { batch = 32, shuffle = true, seed = 2 }),
        val_loader = data.DataLoader(test_set, { batch = 32 }),
        epochs = 2,
        progress = false,
        callbacks = { { on_step = function(_, info) losses[info.step] = info.loss end } },
    }
    for name, value in pairs(options) do
        if name ~= "seed" and name ~= "callback" then settings[name] = value end
    end
    if options.callback then settings.callbacks[2] = options.callback end
    local trainer = Trainer(settings)
    local ok, message = pcall(trainer.run, trainer)
    return trainer, losses, not ok and message or nil
end

-- Everything but the time that it took.
local function history(trainer)
    local rows = {}
    for i, row in ipairs(trainer.history) do
        rows[i] = {}
        for name, value in pairs(row) do
            if name ~= "seconds" then rows[i][name] = value end
        end
    end
    return rows
end

local function same_end(a, b)
    check.equal(history(a), history(b))
    local expected = b.model:state_dict()
    for name, tensor in pairs(a.model:state_dict()) do
        check.equal(tensor, expected[name], name)
    end
end

local whole, whole_losses, problem = run {}

describe("Trainer", function()
    it("trains, validates and tells of it", function()
        check.equal(problem, nil)
        check.equal(#whole_losses, 14)
        check.equal(#whole.history, 2)
        local last = whole.history[2]
        check.equal({ last.epoch, last.step }, { 2, 14 })
        check.truthy(last.loss < whole.history[1].loss)
        check.truthy(last.accuracy > whole.history[1].accuracy)
        check.truthy(last.val_loss > 0 and last.val_accuracy > 0.1)
        check.equal(whole.stopped, false)
        check.equal(whole.model.training, true)
    end)

    it("gives the mean of an epoch over its samples", function()
        local sum = 0
        for step = 1, 7 do sum = sum + whole_losses[step] * (step == 7 and 8 or 32) end
        check.near(whole.history[1].loss, sum / 200, 1e-12)
    end)

    it("repeats to the bit with the same seed, and differs with another", function()
        local again, losses = run {}
        check.equal(losses, whole_losses)
        same_end(again, whole)
        local _, other = run { seed = 2 }
        check.truthy(other[1] ~= whole_losses[1])
    end)

    it("builds no plan after each shape of batch was seen", function()
        local plans = {}
        run { epochs = 3, val_loader = nil, callback = {
            on_epoch = function() plans[#plans + 1] = mare.stats().plans end } }
        check.equal(plans[3], plans[2])
    end)

    it("ends as if never killed when it is killed and resumed", function()
        for _, killed_at in ipairs { 5, 8, 13 } do
            check.in_folder(function(folder)
                local saving = { dir = folder, every = 3 }
                local _, before, message = run { checkpoint = saving, callback = {
                    on_step = function(_, info)
                        if info.step == killed_at then error("killed", 0) end
                    end } }
                check.equal(message, "killed")
                -- Another seed: all that counts must come out of the checkpoint.
                local resumed, after = run { seed = 77, checkpoint = saving, resume = true }
                check.truthy(after[1] == nil, "the run began anew")
                for step = 1, 14 do
                    check.equal(after[step] or before[step], whole_losses[step], "step " .. step)
                end
                same_end(resumed, whole)
            end)
        end
    end)

    it("stops with a checkpoint when it is told to, and goes on", function()
        check.in_folder(function(folder)
            local saving = { dir = folder }
            local stopped = run { checkpoint = saving, callback = {
                before_step = function(trainer, info)
                    if info.step == 9 then trainer:stop() end
                end } }
            check.equal({ stopped.stopped, stopped.step, stopped.batch }, { true, 9, 2 })
            same_end(run { seed = 5, checkpoint = saving, resume = true }, whole)
        end)
    end)

    it("stops at Ctrl-C with a checkpoint, and goes on", function()
        check.in_folder(function(folder)
            local saving = { dir = folder }
            local stopped, _, message = run { checkpoint = saving, callback = {
                before_step = function(_, info)
                    -- The shell is a child of this process.
                    if info.step == 4 then io.popen("kill -INT $PPID"):close() end
                end } }
            check.equal(message, nil)
            check.equal({ stopped.stopped, stopped.step }, { true, 4 })
            check.truthy(mare.fs.exists(folder .. "/checkpoint.safetensors"))
            same_end(run { seed = 5, checkpoint = saving, resume = true }, whole)
        end)
    end)

    it("resumes a finished run as finished", function()
        check.in_folder(function(folder)
            run { checkpoint = { dir = folder } }
            local again, losses = run { seed = 9, checkpoint = { dir = folder }, resume = true }
            check.equal(losses, {})
            same_end(again, whole)
            -- And trains on when there is more to do.
            local more = run { seed = 9, checkpoint = { dir = folder }, resume = true,
                epochs = 3 }
            check.equal(#more.history, 3)
            same_end(more, (run { epochs = 3 }))
        end)
    end)

    it("stops at a loss that is not a number, and names the step and the last finite one",
        function()
            if os.getenv "MARE_EAGER" == "1" then skip "the first NaN is an error already" end
            local values = {}
            for i = 1, 8 do values[i] = { i, i == 7 and 0 / 0 or 1 } end
            local set = data.TensorDataset { mare.tensor(values), mare.zeros(8, 1) }
            local net = nn.Linear(2, 1)
            local trainer = Trainer {
                model = net,
                loss = nn.MSELoss(),
                optimizer = optim.SGD(net:parameters(), { lr = 1e-3 }),
                train_loader = data.DataLoader(set, { batch = 2 }),
                progress = false,
            }
            check.fails("the loss is %-?nan at step 4 %(epoch 1, batch 4%); "
                .. "the last finite loss was [%d.]+ at step 3", trainer.run, trainer)
        end)

    it("passes on what goes wrong in the data and the loss", function()
        local bad = data.TensorDataset { mare.zeros(4, 784),
            mare.tensor({ 0, 1, 12, 3 }, { dtype = "i32" }) }
        local _, _, message = run { train_loader = data.DataLoader(bad, { batch = 4 }) }
        check.truthy(message and message:find("class 12 in the target", 1, true),
            tostring(message))
        local narrow = data.TensorDataset { mare.zeros(4, 700),
            mare.zeros(4, { dtype = "i32" }) }
        _, _, message = run { train_loader = data.DataLoader(narrow, { batch = 4 }) }
        check.truthy(message:find("in 2 (Linear): expected [..., 784], got [4, 700]", 1, true),
            message)
    end)

    it("changes rates before a step", function()
        check.in_folder(function(folder)
            run { epochs = 1, log = folder .. "/log.csv", callback = {
                before_step = function(trainer, info)
                    trainer.optimizer.groups[1].lr = 1 / info.step
                end } }
            local rates = {}
            for line in mare.fs.read(folder .. "/log.csv"):gmatch("step,[^\n]*") do
                rates[#rates + 1] = tonumber(line:match("step,%d+,%d+,([%d.]+)"))
            end
            check.near(rates, { 1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6, 1 / 7 }, 1e-6)
        end)
    end)

    it("refuses options that make no sense", function()
        local net = model()
        local good = { model = net, loss = nn.MSELoss(),
            optimizer = optim.SGD(net:parameters()), train_loader = data.DataLoader(train_set) }
        local function with(name, value)
            local options = { [name] = value }
            for k, v in pairs(good) do
                if k ~= name then options[k] = v end
            end
            return options
        end
        check.fails("no option 'epoch'", Trainer, with("epoch", 3))
        check.fails("loss is missing", Trainer, with("loss", nil))
        check.fails("loss must be a function or module, not 3", Trainer, with("loss", 3))
        check.fails("epochs must be a number", Trainer, with("epochs", "3"))
        check.fails("checkpoint needs a dir", Trainer, with("checkpoint", {}))
        check.fails("metrics is a table", Trainer, with("metrics", { metrics.accuracy }))
        check.fails("cannot be named 'lr'", Trainer, with("metrics", { lr = metrics.accuracy }))
        check.fails("epochs must be a whole number, 1 or more, not 0", Trainer, with("epochs", 0))
        check.fails("every must be a whole number", Trainer,
            with("checkpoint", { dir = "x", every = 0 }))
        check.fails("the train_loader has no batch", Trainer, with("train_loader",
            data.DataLoader(train_set:first(3), { batch = 8, drop_last = true })))
        check.fails("must end in .csv or .jsonl", function()
            Trainer(with("log", "log.txt")):run()
        end)
    end)
end)

describe("Checkpoints", function()
    it("are refused when the run is another", function()
        check.in_folder(function(folder)
            run { epochs = 1, checkpoint = { dir = folder } }
            local function resume(options)
                options.checkpoint, options.resume = { dir = folder }, true
                local _, _, message = run(options)
                return tostring(message)
            end
            local text = resume { train_loader = data.DataLoader(train_set, { batch = 20 }) }
            check.truthy(text:find("the loader's batch was 32 then and is 20 now", 1, true), text)
            text = resume { train_loader = data.DataLoader(train_set:first(50), { batch = 32,
                seed = 2 }) }
            check.truthy(text:find("batches was 7 then and is 2 now", 1, true), text)
            local other = nn.Linear(2, 2)
            text = resume { model = other, optimizer = optim.SGD(other:parameters()) }
            check.truthy(text:find("load_state_dict of Linear: missing: weight, bias", 1, true),
                text)
        end)
    end)

    it("that are damaged or no checkpoints are refused", function()
        check.in_folder(function(folder)
            local path = folder .. "/checkpoint.safetensors"
            local function resume()
                local _, _, message = run { checkpoint = { dir = folder }, resume = true }
                return tostring(message)
            end
            mare.save(path, { weight = mare.zeros(2) }, { epoch = "1" })
            local text = resume()
            check.truthy(text:find("no checkpoint of a training run", 1, true), text)
            mare.save(path, { weight = mare.zeros(2) }, { ["run.#x"] = "1" })
            text = resume()
            check.truthy(text:find("'run.#x' makes no sense", 1, true), text)
            os.remove(path)
            run { epochs = 1, checkpoint = { dir = folder } }
            local bytes = mare.fs.read(path)
            mare.fs.write(path, bytes:sub(1, #bytes // 2))
            text = resume()
            check.truthy(text:find("checkpoint.safetensors", 1, true), text)
        end)
    end)
end)

describe("Logs", function()
    it("hold a row a step and one an epoch, as CSV", function()
        check.in_folder(function(folder)
            run { log = folder .. "/deep/log.csv" }
            local rows, kinds = {}, {}
            for line in mare.fs.read(folder .. "/deep/log.csv"):gmatch("[^\n]+") do
                rows[#rows + 1] = line
                local kind = line:match("^%w+")
                kinds[kind] = (kinds[kind] or 0) + 1
            end
            check.equal(rows[1],
                "kind,epoch,step,lr,loss,accuracy,val_loss,val_accuracy,seconds")
            check.equal(kinds, { kind = 1, step = 14, epoch = 2 })
            local loss = tonumber(rows[2]:match("step,1,1,[^,]*,([^,]*)"))
            check.near(loss, whole_losses[1], 1e-8)
        end)
    end)

    it("are JSON lines by the name of the file, at the steps asked for", function()
        check.in_folder(function(folder)
            run { log = folder .. "/log.jsonl", log_every = 5 }
            local lines = {}
            for line in mare.fs.read(folder .. "/log.jsonl"):gmatch("[^\n]+") do
                lines[#lines + 1] = line
            end
            check.equal(#lines, 4)
            check.truthy(lines[1]:find('^{"kind": "step", "epoch": 1, "step": 5, "lr": 0.003, '
                .. '"loss": [%d.]+, "accuracy": [%d.]+, "seconds": [%d.e-]+}$'), lines[1])
            check.truthy(lines[2]:find('"kind": "epoch".*"val_loss": '), lines[2])
        end)
    end)

    it("of a resumed run are those of a run never killed", function()
        check.in_folder(function(folder)
            local function text(path)
                return (mare.fs.read(path):gsub(",[^,\n]*\n", "\n")) -- without the seconds
            end
            run { log = folder .. "/whole.csv" }
            local saving, log = { dir = folder, every = 4 }, folder .. "/part.csv"
            run { checkpoint = saving, log = log, callback = {
                on_step = function(_, info)
                    if info.step == 11 then error("killed", 0) end
                end } }
            run { seed = 3, checkpoint = saving, log = log, resume = true }
            check.equal(text(log), text(folder .. "/whole.csv"))
        end)
    end)
end)
