--- Recurrent layers: RNN, LSTM, GRU over sequences, and their cells for single steps.

local mare = require "mare"
local args = require "mare.nn.args"
local module = require "mare.nn.module"

local Module = module.Module
local size, options_of, number = args.size, args.options_of, args.number

local recurrent = {}

local gates = { rnn = 1, lstm = 4, gru = 3, rnn_cell = 1, lstm_cell = 4, gru_cell = 3 }

--- A parameter uniform in +-1 / sqrt(hidden), as every weight of a recurrent layer begins.
local function weight(self, name, shape)
    local bound = 1 / math.sqrt(self.hidden_size)
    self:parameter(name, mare.uniform(shape, -bound, bound))
    return name
end

---@class mare.nn.recurrent
---@field num_layers? integer default 1
---@field bias? boolean default true
---@field batch_first? boolean input and output [N, T, ...] in place of [T, N, ...]
---@field dropout? number between layers, in training; default 0
---@field bidirectional? boolean
---@field nonlinearity? string of RNN: "tanh" or "relu"
---@field proj_size? integer of LSTM: the state is projected to this size

--- What the three have in common: parameters weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0,
--- weight_hr_l0, then _l1 and so on; those of the reverse direction end in _reverse.
local Base = Module:extend("recurrent layer")

function Base:init(input_size, hidden_size, options)
    local known = { num_layers = true, bias = true, batch_first = true, dropout = true,
        bidirectional = true, nonlinearity = self.call == "rnn", proj_size = self.call == "lstm" }
    for name, has in pairs(known) do known[name] = has or nil end
    options = options_of(self, options, known)
    self.input_size = size(self, "input_size", input_size, 1)
    self.hidden_size = size(self, "hidden_size", hidden_size, 1)
    self.num_layers = size(self, "num_layers", options.num_layers or 1, 1)
    self.proj_size = size(self, "proj_size", options.proj_size or 0, 0)
    self.dropout = number(self, "dropout", options.dropout or 0, 0, 1)
    self.bidirectional = options.bidirectional or false
    self.batch_first = options.batch_first or false
    self.bias = options.bias ~= false
    self.nonlinearity = options.nonlinearity
    if self.proj_size >= self.hidden_size then
        mare.fail("%s: proj_size %d must be less than hidden_size %d", self._name, self.proj_size,
            self.hidden_size)
    end
    if self.nonlinearity and self.nonlinearity ~= "tanh" and self.nonlinearity ~= "relu" then
        mare.fail("%s: nonlinearity is 'tanh' or 'relu', not '%s'", self._name,
            tostring(self.nonlinearity))
    end
    local output = self.proj_size > 0 and self.proj_size or self.hidden_size
    local rows = gates[self.call] * self.hidden_size
    local names = {}
    for layer = 0, self.num_layers - 1 do
        for direction = 1, self.bidirectional and 2 or 1 do
            local tail = ("_l%d%s"):format(layer, direction == 2 and "_reverse" or "")
            local inputs = layer == 0 and self.input_size
                or output * (self.bidirectional and 2 or 1)
            names[#names + 1] = weight(self, "weight_ih" .. tail, { rows, inputs })
            names[#names + 1] = weight(self, "weight_hh" .. tail, { rows, output })
            if self.bias then
                names[#names + 1] = weight(self, "bias_ih" .. tail, { rows })
                names[#names + 1] = weight(self, "bias_hh" .. tail, { rows })
            end
            if self.proj_size > 0 then
                names[#names + 1] = weight(self, "weight_hr" .. tail,
                    { output, self.hidden_size })
            end
        end
    end
    self.names = names -- of the parameters, in the order of the engine's call
end

--- The options of a call of forward() and its weights.
function Base:arguments(options)
    options = options_of(self, options, { lengths = true })
    local weights = {}
    for i, name in ipairs(self.names) do weights[i] = self[name] end
    return weights, {
        lengths = options.lengths,
        num_layers = self.num_layers,
        bidirectional = self.bidirectional,
        batch_first = self.batch_first,
        dropout = self.dropout,
        training = self.training,
        nonlinearity = self.nonlinearity,
    }
end

function Base:forward(x, hx, options)
    local weights, named = self:arguments(options)
    return mare[self.call](x, hx, weights, named)
end

function Base:extra()
    local text = ("%d, %d"):format(self.input_size, self.hidden_size)
    if self.num_layers > 1 then text = text .. ", num_layers=" .. self.num_layers end
    if self.proj_size > 0 then text = text .. ", proj_size=" .. self.proj_size end
    if self.nonlinearity then text = text .. ", nonlinearity=" .. self.nonlinearity end
    if not self.bias then text = text .. ", bias=false" end
    if self.batch_first then text = text .. ", batch_first=true" end
    if self.dropout > 0 then text = ("%s, dropout=%g"):format(text, self.dropout) end
    if self.bidirectional then text = text .. ", bidirectional=true" end
    return text
end

---Elman's recurrent net: layer(x, hx, { lengths= }) gives output, h_n. x [T, N, inputs] or
---[T, inputs]; hx [layers * directions, N, hidden] or nil; lengths as mare.rnn takes them.
---@class mare.nn.RNN: mare.nn.Module
---@overload fun(inputs: integer, hidden: integer, options?: mare.nn.recurrent): mare.nn.RNN
recurrent.RNN = Base:extend("RNN")
recurrent.RNN.call = "rnn"

---Long short-term memory: layer(x, {h, c}, { lengths= }) gives output, h_n, c_n. x [T, N, inputs]
---or [T, inputs]; h [layers * directions, N, hidden or proj_size], c with hidden; both may be left
---out.
---@class mare.nn.LSTM: mare.nn.Module
---@overload fun(inputs: integer, hidden: integer, options?: mare.nn.recurrent): mare.nn.LSTM
recurrent.LSTM = Base:extend("LSTM")
recurrent.LSTM.call = "lstm"

function recurrent.LSTM:forward(x, state, options)
    if state ~= nil and (type(state) ~= "table" or #state ~= 2) then
        mare.fail("the state of an LSTM is a table {h, c}")
    end
    local weights, named = self:arguments(options)
    return mare.lstm(x, state and state[1], state and state[2], weights, named)
end

---Gated recurrent unit: layer(x, hx, { lengths= }) gives output, h_n, like RNN.
---@class mare.nn.GRU: mare.nn.Module
---@overload fun(inputs: integer, hidden: integer, options?: mare.nn.recurrent): mare.nn.GRU
recurrent.GRU = Base:extend("GRU")
recurrent.GRU.call = "gru"

---@class mare.nn.cell
---@field bias? boolean default true
---@field nonlinearity? string of RNNCell: "tanh" or "relu"

--- A cell has parameters weight_ih, weight_hh, bias_ih, bias_hh.
local Cell = Module:extend("recurrent cell")

function Cell:init(input_size, hidden_size, options)
    options = options_of(self, options,
        { bias = true, nonlinearity = self.call == "rnn_cell" or nil })
    self.input_size = size(self, "input_size", input_size, 1)
    self.hidden_size = size(self, "hidden_size", hidden_size, 1)
    self.bias = options.bias ~= false
    self.nonlinearity = options.nonlinearity
    local rows = gates[self.call] * self.hidden_size
    weight(self, "weight_ih", { rows, self.input_size })
    weight(self, "weight_hh", { rows, self.hidden_size })
    if self.bias then
        weight(self, "bias_ih", { rows })
        weight(self, "bias_hh", { rows })
    end
end

function Cell:extra()
    return ("%d, %d%s"):format(self.input_size, self.hidden_size,
        self.bias and "" or ", bias=false")
end

---One step of an RNN: cell(x, h) gives the next h. x [N, inputs] or [inputs].
---@class mare.nn.RNNCell: mare.nn.Module
---@overload fun(inputs: integer, hidden: integer, options?: mare.nn.cell): mare.nn.RNNCell
recurrent.RNNCell = Cell:extend("RNNCell")
recurrent.RNNCell.call = "rnn_cell"

function recurrent.RNNCell:forward(x, h)
    return mare.rnn_cell(x, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh,
        { nonlinearity = self.nonlinearity or "tanh" })
end

---One step of an LSTM: cell(x, {h, c}) gives the next h and c. x [N, inputs] or [inputs].
---@class mare.nn.LSTMCell: mare.nn.Module
---@overload fun(inputs: integer, hidden: integer, options?: {bias?: boolean}): mare.nn.LSTMCell
recurrent.LSTMCell = Cell:extend("LSTMCell")
recurrent.LSTMCell.call = "lstm_cell"

function recurrent.LSTMCell:forward(x, state)
    if state ~= nil and (type(state) ~= "table" or #state ~= 2) then
        mare.fail("the state of an LSTMCell is a table {h, c}")
    end
    return mare.lstm_cell(x, state and state[1], state and state[2], self.weight_ih,
        self.weight_hh, self.bias_ih, self.bias_hh)
end

---One step of a GRU: cell(x, h) gives the next h. x [N, inputs] or [inputs].
---@class mare.nn.GRUCell: mare.nn.Module
---@overload fun(inputs: integer, hidden: integer, options?: {bias?: boolean}): mare.nn.GRUCell
recurrent.GRUCell = Cell:extend("GRUCell")
recurrent.GRUCell.call = "gru_cell"

function recurrent.GRUCell:forward(x, h)
    return mare.gru_cell(x, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
end

return recurrent
