-- Kernels of a script's own.

local mare = require "mare"
local check = require "check"

local function near(got, expected, tolerance) check.near(got, expected, tolerance or 1e-5) end

local function leaky_options()
    return {
        name = "leaky", inputs = { "x" }, outputs = { "y" }, numbers = { "slope" },
        glsl = "y[i] = x[i] > 0.0 ? x[i] : slope * x[i];",
        vjp = function(ctx, gy)
            return mare.where(ctx.inputs[1]:gt(0), gy, gy * ctx.numbers.slope)
        end,
        reference = function(x, numbers) return mare.where(x:gt(0), x, x * numbers.slope) end,
    }
end

describe("kernel", function()
    it("is an operation with a gradient", function()
        local leaky = mare.kernel(leaky_options())
        local x = mare.tensor({ { 1, -2, 3 }, { -4, 5, -6 } }, { requires_grad = true })
        local y = leaky(x * 2, { slope = 0.25 })
        near(y, { { 2, -1, 6 }, { -2, 10, -3 } })
        y:sum():backward()
        near(x.grad, { { 2, 0.5, 2 }, { 0.5, 2, 0.5 } })
        check.equal(leaky:check(x, { slope = 0.25 }), true)
        check.equal(tostring(leaky), "kernel leaky(x)")
    end)

    it("takes numbers that change without a new plan or shader", function()
        local leaky = mare.kernel(leaky_options())
        local x = mare.tensor { -1, 2 }
        leaky(x, { slope = 0.5 }):eval()
        local before = mare.stats()
        for k = 1, 5 do near(leaky(x, { slope = k }), { -k, 2 }) end
        local after = mare.stats()
        check.equal(after.plans, before.plans)
        check.equal(after.pipelines, before.pipelines)
    end)

    it("is the same when it is defined again", function()
        local x = mare.tensor { -1, 2 }
        mare.kernel(leaky_options())(x, { slope = 2 }):eval()
        local before = mare.stats()
        for _ = 1, 3 do near(mare.kernel(leaky_options())(x, { slope = 2 }), { -2, 2 }) end
        check.equal(mare.stats().plans, before.plans)
        check.equal(mare.stats().pipelines, before.pipelines)
    end)

    it("has several outputs of shapes of its own, of views and any element type", function()
        local bounds = mare.kernel {
            name = "bounds", inputs = { "x" }, outputs = { "low", "high" },
            shape = function(x) return { x.shape[1] }, { x.shape[1] } end,
            glsl = [[
                float a = x[i * x_dim(1)], b = a;
                for (uint k = 1u; k < x_dim(1); k++) {
                    a = min(a, x[i * x_dim(1) + k]);
                    b = max(b, x[i * x_dim(1) + k]);
                }
                low[i] = a;
                high[i] = b;
            ]],
            reference = function(x) return x:min(2), x:max(2) end,
        }
        local x = mare.randn(70, 33)
        check.truthy(bounds:check(x))
        check.truthy(bounds:check(x:t()))
        check.truthy(bounds:check(x:to("f16")[{ { 3, 60, 2 }, {} }]))
        check.equal(bounds(x:to("f16")).dtype, "f16")
        local low, high = bounds(mare.ones(0, 3))
        check.equal(low:numel() + high:numel(), 0)
    end)

    it("sees integers, and runs functions with shared memory", function()
        local histogram = mare.kernel {
            name = "histogram", inputs = { { "label", "i32" } }, outputs = { { "n", "i32" } },
            workgroup = 32, shape = function() return { 4 } end,
            threads = function() return 32 end,
            glsl = [==[
                shared int found[4];
                void main() {
                    uint id = gl_LocalInvocationID.x;
                    if (id < 4u) found[id] = 0;
                    barrier();
                    for (uint k = id; k < label_size; k += gl_WorkGroupSize.x)
                        atomicAdd(found[label[k]], 1);
                    barrier();
                    if (id < n_size) n[id] = found[id];
                }
            ]==],
        }
        local x = mare.tensor({ 3, 1, 1, 0, 3, 3 }, { dtype = "u8" })
        check.equal(histogram(x), { 1, 2, 0, 3 })
        check.equal(histogram(x).dtype, "i32")
    end)

    it("differentiates again what its vjp is made of", function()
        local cube
        cube = mare.kernel {
            name = "cube", inputs = { "x" }, outputs = { "y" }, glsl = "y[i] = x[i] * x[i] * x[i];",
            vjp = function(ctx, gy) return gy * ctx.inputs[1]:square() * 3 end,
        }
        near(mare.hessian(function(x) return cube(x):sum() end, mare.tensor { 1, 2 }),
            { { 6, 0 }, { 0, 12 } })
    end)

    it("differentiates again through the outputs that its vjp takes", function()
        local exp = mare.kernel {
            name = "exp2", inputs = { "x" }, outputs = { "y" }, glsl = "y[i] = exp2(x[i]);",
            vjp = function(ctx, gy) return gy * ctx.outputs[1] * math.log(2) end,
        }
        local x = mare.tensor { 1, 2 }
        check.truthy(exp:check(x))
        local ln2 = math.log(2)
        near(mare.hessian(function(v) return exp(v):sum() end, x),
            { { 2 * ln2 ^ 2, 0 }, { 0, 4 * ln2 ^ 2 } })
    end)

    it("has a vjp that is GLSL", function()
        if mare.device().storage_buffers < 8 then skip "the device binds too few tensors" end
        local scaled = mare.kernel {
            name = "scaled", inputs = { "x", { "k", "i32" }, "w" }, outputs = { "y", "z" },
            numbers = { "a" },
            glsl = "y[i] = a * x[i] * w[i % w_size]; z[i] = sinh(x[i]) * float(k[0]);",
            vjp = [[
                if (i < grad_x_size)
                    grad_x[i] = grad_y[i] * a * w[i % w_size]
                        + grad_z[i] * sqrt(float(k[0] * k[0]) + z[i] * z[i]);
                if (i < grad_w_size) {
                    float sum = 0.0;
                    for (uint j = i; j < grad_x_size; j += w_size) sum += grad_y[j] * x[j];
                    grad_w[i] = a * sum;
                }
            ]],
        }
        local x = mare.tensor({ { 0.5, -1 }, { 1, 0.25 }, { -0.5, 0.75 } },
            { requires_grad = true })
        local w = mare.tensor({ 2, -1 }, { requires_grad = true })
        local k = mare.tensor({ 3 }, { dtype = "i32" })
        check.truthy(scaled:check(x, k, w, { a = 0.5 }))
        local y, z = scaled(x, k, w, { a = 2 })
        local loss = y * 3 + z * 0
        loss:sum():backward()
        near(x.grad, { { 12, -6 }, { 12, -6 }, { 12, -6 } })
        near(w.grad, { 6, 0 })
        local f = mare.grad(function(v) return (scaled(v, k, w, { a = 1 })):sum() end)
        check.fails("scaled_vjp: has no vjp", function() f(x):sum():backward() end)
        local half = x:detach():to("f16")
        half.requires_grad = true
        scaled(half, k, w, { a = 1 }):sum():backward()
        check.equal(half.grad.dtype, "f16")
        near(half.grad, { { 2, -1 }, { 2, -1 }, { 2, -1 } })
    end)

    it("tells a shader's error with its line", function()
        local message = check.fails("kernel_spec.lua:%d+: kernel: shader bad: bad:3: 'z'",
            function()
                mare.kernel { name = "bad", inputs = { "x" }, outputs = { "y" },
                    glsl = "float a = x[i];\n\ny[i] = z;\n" }
            end)
        check.truthy(message:find("3 | y[i] = z;", 1, true), message)
        local options = leaky_options()
        options.vjp = "grad_x[i] = grad_y[i];\ngrad_x[i] += nothing;"
        message = check.fails("kernel: shader leaky_vjp: leaky_vjp:2: 'nothing'",
            function() mare.kernel(options) end)
        check.truthy(message:find("2 | grad_x[i] += nothing;", 1, true), message)
    end)

    it("stands between chains that are fused", function()
        local leaky = mare.kernel(leaky_options())
        local x, w = mare.randn(6, 5), mare.randn(5)
        mare.eval(x, w)
        local function f(k) return (k((x * 2 + w):tanh(), { slope = 0.5 }) - w):exp() end
        local y = f(leaky)
        y:eval()
        local plan = mare.plan()
        near(y, f(function(v) return mare.where(v:gt(0), v, v * 0.5) end):totable())
        local passes = os.getenv "MARE_PASSES" or ""
        if not os.getenv "MARE_EAGER" and not os.getenv "MARE_CHECK" and passes == "" then
            check.equal(plan.launches, 3)
        end
        local v = leaky(x:t() * 2, { slope = 0.5 }):t() -- what it reads and gives may be views
        near(v, mare.where(x:gt(0), x * 2, x):totable())
    end)

    it("trains in a steady loop that makes nothing", function()
        local leaky, before = mare.kernel(leaky_options()), nil
        local layer = mare.nn.Linear(4, 3)
        local opt = mare.optim.Adam(layer:parameters(), { lr = 1e-2 })
        local x = mare.randn(8, 4)
        local first, last
        for step = 1, 6 do
            opt.lr = 1e-2 / step
            local loss = leaky(layer(x), { slope = 1 / step }):square():mean()
            opt:zero_grad()
            loss:backward()
            opt:step()
            last = loss:item()
            first = first or last
            if step == 3 then before = mare.stats() end
        end
        local after = mare.stats()
        check.equal(after.plans, before.plans)
        check.equal(after.pipelines, before.pipelines)
        check.truthy(last < first, ("%g, after %g"):format(last, first))
    end)

    it("is caught when it computes something else than its reference or vjp say", function()
        local options = leaky_options()
        options.name, options.glsl = "wrong", "y[i] = x[i] > 0.0 ? x[i] : slope;"
        check.fails("wrong: element 2 of y is 0.5, by the reference %-1",
            function() mare.kernel(options):check(mare.tensor { 1, -2 }, { slope = 0.5 }) end)
        options.tolerance = 1.5
        check.truthy(pcall(mare.kernel(options), mare.tensor { 1, -2 }, { slope = 0.5 }))
        options = leaky_options()
        options.vjp = function(_, gy) return gy end
        check.fails("gradcheck: the gradient of element 2 of argument 1 is 0.8",
            function() mare.kernel(options):check(mare.tensor { 1, -2 }, { slope = 0.5 }) end)
    end)

    it("refuses what makes no sense", function()
        local x = mare.ones(3)
        local function refused(pattern, change)
            local options = leaky_options()
            change(options)
            check.fails(pattern, function() mare.kernel(options) end)
        end
        check.fails("expected a table", function() mare.kernel("y = x;") end)
        refused("unknown option 'shader'", function(o) o.shader = "" end)
        refused("glsl is not given", function(o) o.glsl = nil end)
        refused("outputs is not given", function(o) o.outputs = nil end)
        refused("inputs must be a table, not string", function(o) o.inputs = "x" end)
        refused("workgroup must be", function(o) o.workgroup = 0.5 end)
        refused('"2x" cannot be a name', function(o) o.inputs = { "2x" } end)
        refused('"count" cannot be a name', function(o) o.inputs = { "count" } end)
        refused('the name "x" is given twice', function(o) o.outputs = { "x" } end)
        refused("x is f16; kernels see f32 and i32", function(o) o.inputs = { { "x", "f16" } } end)
        refused("outputs share a dtype", function(o) o.outputs = { "y", { "z", "i32" } } end)
        refused("5 outputs are more than 4",
            function(o) o.outputs = { "a", "b", "c", "d", "e" } end)

        local leaky = mare.kernel(leaky_options())
        check.fails("leaky: takes 1 tensors %(x%), got 2",
            function() leaky(x, x, { slope = 1 }) end)
        check.fails("leaky: slope must be a number, not nil", function() leaky(x) end)
        check.fails("leaky: there is no number 'slop'", function() leaky(x, { slop = 1 }) end)
        check.fails("leaky: x must be a tensor, not number", function() leaky(3, { slope = 1 }) end)
        check.fails("leaky: x is i32, where floats are expected",
            function() leaky(x:to("i32"), { slope = 1 }) end)
        local options = leaky_options()
        options.name, options.vjp = "plain", nil
        local plain = mare.kernel(options)
        local y = plain(mare.tensor({ 1 }, { requires_grad = true }), { slope = 1 })
        check.fails("plain: has no vjp", function() y:sum():backward() end)
        options.workgroup = 60000
        check.fails("kernel plain: a workgroup of 60000 invocations; this device has %d+ at most",
            function() mare.kernel(options) end)
        options.workgroup = 3
        near(mare.kernel(options)(mare.tensor { -3, -2, 1, 2 }, { slope = 2 }), { -6, -4, 1, 2 })
    end)
end)
