--- Weights made of other parameters before each forward().

local mare = require "mare"
local is_module = require("mare.nn.module").is_module

local utils = {}

--- The parameter `name` of a module, for the call that is named.
local function parameter_of(call, module, name)
    if not is_module(module) then
        mare.fail("%s: a module is needed, not %s", call, tostring(module))
    end
    local value = rawget(module, name)
    if not mare.is_tensor(value) or not module._kinds[name] or module._kinds[name] == "derived" then
        mare.fail("%s: %s has no parameter '%s'", call, module._name, tostring(name))
    end
    return value
end

--- Lets go of the fields that a weight was made of, and makes it a parameter.
local function settle(module, name, parts)
    local value = mare.no_grad(function() return rawget(module, name):detach() end)
    module:underive(name)
    for _, part in ipairs(parts) do
        module._kinds[part] = nil
        rawset(module, part, nil)
    end
    module:parameter(name, value)
    return module
end

--- Refuses a module whose weight was not made by the call's counterpart.
local function made_of(call, module, name, part)
    if not is_module(module) or not rawget(module, part) then
        mare.fail("%s: '%s' of %s is not made that way", call, tostring(name), tostring(module))
    end
end

---Length and direction of a weight as parameters of their own (Salimans and Kingma 2016): name_g
---and name_v take the place of the parameter, see mare.weight_norm.
---@param module mare.nn.Module
---@param name? string default "weight"
---@param dim? integer|false which dimension has lengths of its own, default 1; false: one length
---@return mare.nn.Module module
function utils.weight_norm(module, name, dim)
    name = name or "weight"
    local weight = parameter_of("weight_norm", module, name)
    local lengths = mare.no_grad(function()
        local w, axes = weight:detach(), {}
        if dim == false then return (w * w):sum():sqrt() end
        local own = dim or 1
        if own < 0 then own = #w.shape + 1 + own end
        for d = 1, #w.shape do
            if d ~= own then axes[#axes + 1] = d end
        end
        if #axes == 0 then return w:abs() end
        return (w * w):sum(axes, { keepdim = true }):sqrt()
    end)
    module._kinds[name] = nil
    rawset(module, name, nil)
    local g, v = name .. "_g", name .. "_v"
    module:parameter(g, lengths)
    module:parameter(v, weight:detach())
    module:derive(name, function(m)
        return mare.weight_norm(rawget(m, v), rawget(m, g), { dim = dim or 1 })
    end)
    return module
end

---Makes a weight that weight_norm() split a parameter again.
---@param module mare.nn.Module
---@param name? string default "weight"
---@return mare.nn.Module module
function utils.remove_weight_norm(module, name)
    name = name or "weight"
    made_of("remove_weight_norm", module, name, name .. "_g")
    return settle(module, name, { name .. "_g", name .. "_v" })
end

---A weight over its largest singular value (Miyato et al. 2018): name_orig is the parameter, and
---the buffers name_u and name_v go on by power iteration while the module is in training.
---@param module mare.nn.Module
---@param name? string default "weight"
---@param options? {n_power_iterations?: integer, eps?: number, dim?: integer}
---@return mare.nn.Module module
function utils.spectral_norm(module, name, options)
    name, options = name or "weight", options or {}
    local weight = parameter_of("spectral_norm", module, name)
    local dim, eps = options.dim or 1, options.eps or 1e-12
    if dim < 0 then dim = #weight.shape + 1 + dim end
    local height = weight.shape[dim]
    local function start(n)
        return mare.no_grad(function()
            return mare.normalize(mare.randn(n), { dim = 1, eps = eps })
        end)
    end
    module._kinds[name] = nil
    rawset(module, name, nil)
    local orig, u, v = name .. "_orig", name .. "_u", name .. "_v"
    module:parameter(orig, weight:detach())
    module:buffer(u, start(height))
    module:buffer(v, start(weight:numel() // height))
    local function make(m, steps)
        local made, new_u, new_v = mare.spectral_norm(rawget(m, orig), rawget(m, u), rawget(m, v),
            { n_power_iterations = steps, dim = dim, eps = eps })
        if steps > 0 then
            mare.no_grad(function()
                rawget(m, u):assign(new_u)
                rawget(m, v):assign(new_v)
            end)
        end
        return made
    end
    -- The vectors settle first, so that a module that is only evaluated is right as well.
    mare.no_grad(make, module, 15)
    module:derive(name, function(m)
        return make(m, m.training and (options.n_power_iterations or 1) or 0)
    end)
    return module
end

---Makes a weight that spectral_norm() divides a parameter again.
---@param module mare.nn.Module
---@param name? string default "weight"
---@return mare.nn.Module module
function utils.remove_spectral_norm(module, name)
    name = name or "weight"
    made_of("remove_spectral_norm", module, name, name .. "_orig")
    return settle(module, name, { name .. "_orig", name .. "_u", name .. "_v" })
end

return utils
