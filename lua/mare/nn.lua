--- Neural networks: modules, layers, losses, initialisers.

local module = require "mare.nn.module"

local nn = {
    Module = module.Module,
    is_module = module.is_module,
    functional = require "mare.nn.functional",
    init = require "mare.nn.init",
}
for name, class in pairs(require "mare.nn.layers") do nn[name] = class end

return nn
