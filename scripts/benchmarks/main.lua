-- See scripts/bench.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path

local mare = require "mare"
local kernels, nets, report = require "kernels", require "nets", require "report"
local start, training = require "start", require "training"

local FAMILIES = { "gemm", "add", "step", "replay", "host", "memory", "start" }
local NETS = { "cnn", "mlp", "gpt", "lstm" }

local families, chosen, rounds = {}, {}, 3
for _, word in ipairs(arg) do
    local n = math.tointeger(tonumber(word:match("^%-%-rounds=(%d+)$")))
    if word == "--json" then
        report.json = true
    elseif n and n > 0 then
        rounds = n
    elseif nets[word] then
        chosen[#chosen + 1] = word
    elseif kernels[word] or training[word] or word == "start" then
        families[word] = true
    else
        io.stderr:write(("cannot use '%s'; families: %s; nets: %s, resnet; --rounds=N, --json\n")
            :format(word, table.concat(FAMILIES, ", "), table.concat(NETS, ", ")))
        os.exit(2)
    end
end
if next(families) == nil then
    for _, family in ipairs(FAMILIES) do families[family] = true end
end
if #chosen == 0 then chosen = NETS end

local device = mare.device()
if not report.json then print(device.name .. ", " .. device.driver) end
for _, family in ipairs(FAMILIES) do
    if families[family] and kernels[family] then kernels[family]() end
end
for _, name in ipairs(chosen) do
    local net
    for _, family in ipairs(FAMILIES) do
        if families[family] and training[family] then
            net = net or nets[name]()
            training[family](name, net, rounds)
        end
    end
end
if families.start then start(rounds) end
report.finish()
