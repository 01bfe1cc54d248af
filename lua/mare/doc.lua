-- One entry a function of `mare`: name = { signature, text }. help(name) answers from here; the
-- elementwise operations bring their line with them and are not repeated. x: stands for a tensor.

return {
    -- Context and device
    init = { "mare.init{ device=, caps=, memory_cap=, seed=, submit_ms= }",
        "Makes the context; without it, the first use does, from MARE_DEVICE and MARE_CAPS." },
    close = { "mare.close()",
        "Gives the device back; tensors that are left answer with an error." },
    version = { "mare.version", "The version, as a string." },
    devices = { "mare.devices()", "A list of the machine's Vulkan devices." },
    device = { "mare.device()",
        "The context's device: name, driver, type, memory, limits, features." },
    memory = { "mare.memory()", "Device bytes: { used, cached, peak, cap }." },
    set_memory_cap = { "mare.set_memory_cap(bytes)", "The most device memory to take; 0: no cap." },
    set_submit_ms = { "mare.set_submit_ms(ms)",
        "How long the device may be at one submission, in milliseconds; 0: the default, 20. Work "
        .. "is cut by measured time; a single launch is not." },
    reset_peak_memory = { "mare.reset_peak_memory()", "Starts the figure memory().peak anew." },
    trim_memory = { "mare.trim_memory()",
        "Collects garbage and gives cached device memory back to the driver." },
    stats = { "mare.stats()",
        "Counters: evals, plans, hits, launches, recorded (launches whose commands were not just "
        .. "sent again), submits, shaders_compiled, nodes, ..." },
    plan = { "mare.plan()",
        "The plan that ran last: { launches, barriers, arena, sum, bound, donated }; in bytes, its "
        .. "temporaries packed, not packed, what no packing can do without, and assigned values "
        .. "that may take the memory of those they replace." },
    set_tuning = { "mare.set_tuning(when[, seconds])",
        "When kernels may be measured: \"first use\", for so many seconds in all (60), \"known\": "
        .. "only in mare.tune.kernels, or \"off\": the same, and records are not looked at." },
    tuning = { "mare.tuning()", "That, and what is left of the seconds." },
    set_passes = { "mare.set_passes(list)",
        "Which passes run from now on: a list as in MARE_PASSES, such as \"-fuse,-merge\"." },
    synchronize = { "mare.synchronize()", "Waits for the device." },
    profile = { "mare.profile(f, { trace= })",
        "A report of where the time goes in f(), and f's results. print(report), report.sites, "
        .. "report:by_op(), report:by_line(); trace: a file for Perfetto or chrome://tracing." },
    ops = { "mare.ops()", "Every operation: a list of { name, doc, inputs }." },
    calls = { "mare.calls()",
        "Every call: a list of { name, doc, args, results, file, line }." },
    help = { "mare.help(name or function)",
        "What is known about it, as text; nil when nothing is." },
    fail = { "mare.fail(format, ...)", "Raises an error that starts with the script's own line." },
    on_interrupt = { "mare.on_interrupt(f)",
        "Ctrl-C calls f in place of raising \"interrupted\"; true from f means: go on." },
    fs = { "mare.fs",
        "exists, kind, mkdir, read, write (whole or not at all), remove, isatty, terminal_width, "
        .. "time, getenv." },

    -- Random numbers
    manual_seed = { "mare.manual_seed(n)", "Starts the random stream anew." },
    rng_state = { "mare.rng_state()", "Where the random stream is: { seed, position }, named." },
    set_rng_state = { "mare.set_rng_state(state)", "Goes back there." },
    rand = { "mare.rand(2, 3, { dtype=, requires_grad= })", "Uniform from 0 to 1, without 1." },
    randn = { "mare.randn(2, 3, { dtype=, requires_grad= })", "Normal, mean 0, deviation 1." },
    uniform = { "mare.uniform({2, 3}, lo, hi, options)", "Uniform from lo to hi, without hi." },
    normal = { "mare.normal({2, 3}, mean, std, options)", "Normal." },

    -- Making tensors
    tensor = { "mare.tensor(number | nested table | bytes, { dtype=, requires_grad=, shape= })",
        "A tensor of these values: f32, or bool of booleans; bytes are u8 of one dimension." },
    zeros = { "mare.zeros(2, 3, { dtype=, requires_grad= })", "Zeros; the shape may be a table." },
    ones = { "mare.ones(2, 3, { dtype=, requires_grad= })", "Ones; the shape may be a table." },
    full = { "mare.full({2, 3}, value, { dtype=, requires_grad= })", "One value everywhere." },
    zeros_like = { "x:zeros_like({ dtype=, requires_grad= })", "Zeros shaped like x." },
    ones_like = { "x:ones_like({ dtype=, requires_grad= })", "Ones shaped like x." },
    arange = { "mare.arange([start,] stop[, step][, options])",
        "start (0), start + step, ... without stop; i32 when all are integers, else f32." },
    eye = { "mare.eye(n[, m], { dtype=, requires_grad= })",
        "The identity matrix, n by n or n by m." },
    is_tensor = { "mare.is_tensor(v)", "Is it a tensor?" },

    -- What a tensor tells
    shape = { "x.shape", "A table of the dimensions, which prints as [2, 3]." },
    dtype = { "x.dtype", "\"f32\", \"f16\", \"bf16\", \"i32\", \"i8\", \"u8\" or \"bool\"." },
    ndim = { "x.ndim", "The number of dimensions." },
    requires_grad = { "x.requires_grad", "Does backward() fill x.grad? Can be set." },
    size = { "x:size([d])", "The shape, or one dimension." },
    numel = { "x:numel()", "The number of elements." },
    dim = { "x:dim()", "The number of dimensions." },
    item = { "x:item()", "The only element, as a number or a boolean." },
    totable = { "x:totable()", "The elements as nested tables; of a scalar, the number." },
    tobytes = { "x:tobytes()", "The elements as they are in memory, in a string." },
    is_floating_point = { "x:is_floating_point()", "Are its elements f32, f16 or bf16?" },
    evaluated = { "x:evaluated()", "Are its values computed already?" },
    eval = { "mare.eval(a, b, { more }), x:eval()",
        "Computes tensors, and those in tables, together; returns its arguments." },
    to = { "x:to(\"f16\")", "The elements as another type." },
    float = { "x:float()", "To f32." },
    half = { "x:half()", "To f16." },
    bfloat16 = { "x:bfloat16()", "To bf16." },
    int = { "x:int()", "To i32." },
    char = { "x:char()", "To i8." },
    byte = { "x:byte()", "To u8." },
    bool = { "x:bool()", "To bool: not 0." },

    -- Movement
    reshape = { "x:reshape(2, -1)",
        "Another shape with as many elements; one dimension may be -1." },
    permute = { "x:permute(2, 1)", "The dimensions in another order." },
    transpose = { "x:transpose(1, 2)", "Two dimensions exchanged." },
    t = { "x:t()", "A matrix transposed." },
    expand = { "x:expand(3, -1)", "Dimensions of 1 repeated; -1 keeps one." },
    flip = { "x:flip(1, 2)", "Backwards along these dimensions." },
    squeeze = { "x:squeeze([d])", "Without dimensions of 1, or without that one." },
    unsqueeze = { "x:unsqueeze(d)", "With a dimension of 1 put in as the d-th." },
    flatten = { "x:flatten([from[, to]])", "These dimensions (all) as one." },
    narrow = { "x:narrow(dim, start, length)", "length entries from start on along a dimension." },
    cat = { "mare.cat({ a, b }, dim)", "Joined along a dimension (the first)." },
    stack = { "mare.stack({ a, b }, dim)", "Joined along a new dimension (the first)." },
    split = { "x:split(size, dim)",
        "A list of pieces of that many entries along a dimension, or of the sizes in a list." },
    chunk = { "x:chunk(n, dim)", "A list of at most n pieces along a dimension." },
    contiguous = { "x:contiguous()", "The same, row by row in memory." },
    take = { "x:take(index, dim)",
        "Slices at the positions (from 0) that an integer tensor holds, along a dimension." },
    one_hot = { "mare.one_hot(index, classes, { dtype= })",
        "A new last dimension with 1 at the position (from 0) that index holds." },

    -- Gradients
    backward = { "y:backward([grad][, { retain_graph= }])",
        "Adds the gradients of y to x.grad of every x behind it that requires one." },
    grad = { "mare.grad(f)",
        "A function that returns f's gradients by its float tensor arguments, then f's results." },
    gradients = { "mare.gradients(y, { xs }[, grad])",
        "The gradients of y by each x, which can be differentiated again." },
    compile = { "mare.compile(f)",
        "A function that does what f does, from the third call of a kind on without running its "
        .. "Lua: for training steps. Inputs are checked, numbers among the arguments and the "
        .. "optimizer's are taken anew, random numbers go on; results have no graph. Values of "
        .. "tensors cannot be read in f. reset() forgets what was noted." },
    no_grad = { "mare.no_grad(f, ...)",
        "f(...) without recording; or local _ <close> = mare.no_grad() to the end of the block." },
    detach = { "x:detach()", "The same values, without their history." },
    assign = { "p:assign(x)", "p takes the values of x; returns p." },

    -- Files and data
    save = { "mare.save(path, { name = tensor }, { key = text })", "Writes a safetensors file." },
    load = { "mare.load(path)", "{ name = tensor } and metadata out of a safetensors file." },
    save_npy = { "mare.save_npy(path, x)", "Writes NumPy's format." },
    load_npy = { "mare.load_npy(path)", "Reads NumPy's format, also packed by gzip." },
    imread = { "mare.imread(path, { channels= })", "A PNG, JPEG or BMP as u8 [C, H, W]." },
    imwrite = { "mare.imwrite(path, x)",
        "Writes a PNG: u8, or floats in 0..1; [H, W], [1, H, W] or [3, H, W]." },
    read_idx = { "mare.read_idx(path)", "A host array out of an idx file (MNIST's), also gzip." },
    array = { "mare.array(tensor | nested table, { dtype= })",
        "A host array: .shape, .dtype, #a, a:tensor([from[, to]])." },
    digits = { "mare.digits(n, seed, { test= })",
        "Images u8 [n, 28, 28] and labels u8 [n] of digits that Mare draws itself; host arrays." },
    loader = { "mare.loader{ arrays = { {array, dtype=, scale=, shift=, sample_shape=}, ... }, "
        .. "batch=, shuffle=, seed=, epoch=, start_batch=, workers=, drop_last=, indices= }",
        "One pass in batches; for x, y in loader:iter(), or loader:next(), loader:close(). "
        .. "#loader: batches; start_batch: how many are left out; indices: positions, from 1 in "
        .. "a table, from 0 in a tensor." },

    -- Modules
    nn = { "mare.nn", "Layers and losses." },
    optim = { "mare.optim", "Optimizers and schedules." },
    data = { "mare.data", "Data sets and their loader." },
    train = { "mare.train", "The trainer." },
    metrics = { "mare.metrics", "Accuracy and other figures." },
    tune = { "mare.tune",
        "kernels{ step= | model=, inputs= | shapes=, budget= } measures ahead of use; list(), "
        .. "pin(key, candidate), export(path), import(path), clear()." },
    profiler = { "mare.profiler", "start(), stop({ trace= }): mare.profile for any stretch." },
}
