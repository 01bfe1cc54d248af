--- The linear-chain conditional random field as a layer, for tags that depend on their neighbours.

local mare = require "mare"
local args = require "mare.nn.args"
local module = require "mare.nn.module"

local crf = {}

---Linear-chain conditional random field behind a tagger: layer(emissions, tags, { lengths= }) gives
---the log-likelihood of the tags [N], whose negative mean is the loss; layer:decode(emissions,
---{ lengths= }) the best tags and their scores. Emissions [T, N, tags], or [N, T, tags] with
---batch_first.
---@class mare.nn.CRF: mare.nn.Module
---@field transitions mare.tensor [tags, tags], from row to column
---@field start_transitions mare.tensor [tags]
---@field end_transitions mare.tensor [tags]
---@overload fun(tags: integer, options?: {batch_first?: boolean}): mare.nn.CRF
crf.CRF = module.Module:extend("CRF")

function crf.CRF:init(tags, options)
    options = args.options_of(self, options, { batch_first = true })
    self.tags = args.size(self, "tags", tags, 1)
    self.batch_first = options.batch_first or false
    self:parameter("transitions", mare.uniform({ self.tags, self.tags }, -0.1, 0.1))
    self:parameter("start_transitions", mare.uniform({ self.tags }, -0.1, 0.1))
    self:parameter("end_transitions", mare.uniform({ self.tags }, -0.1, 0.1))
end

--- The last arguments of both calls.
local function chain(self, options)
    options = args.options_of(self, options, { lengths = true })
    return self.transitions, self.start_transitions, self.end_transitions, options.lengths,
        { batch_first = self.batch_first }
end

function crf.CRF:forward(emissions, tags, options)
    return mare.crf_log_likelihood(emissions, tags, chain(self, options))
end

---The best tags, 0 past a sequence's end, and their scores [N].
---@param emissions mare.tensor
---@param options? {lengths?: mare.tensor|integer[]}
function crf.CRF:decode(emissions, options)
    return mare.viterbi_decode(emissions, chain(self, options))
end

function crf.CRF:extra()
    return self.tags .. (self.batch_first and ", batch_first=true" or "")
end

return crf
