--- Neural networks: modules, layers, losses, initialisers.

local module = require "mare.nn.module"

local nn = {
    Module = module.Module,
    is_module = module.is_module,
    functional = require "mare.nn.functional",
    init = require "mare.nn.init",
}
for _, part in ipairs { "layers", "conv", "lookup", "dropout", "losses", "norm", "pool",
    "recurrent", "crf", "attention" } do
    for name, class in pairs(require("mare.nn." .. part)) do nn[name] = class end
end
nn.utils = require "mare.nn.utils"

return nn
