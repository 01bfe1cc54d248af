-- What makes lists of tensors, or takes them, of any length: added to the module `mare`.

local core = require "mare.core"
local mare, methods = core.api, core.methods

-- Dimension d of x, from 1 or from -1 at the end, as 1..ndim.
local function dim_of(call, x, d)
    if not mare.is_tensor(x) then
        mare.fail("%s: the tensor must be a tensor, not %s", call, type(x))
    end
    d = d or 1
    local n = x.ndim
    if math.type(d) ~= "integer" then
        mare.fail("%s: the dimension must be an integer, not %s", call, tostring(d))
    elseif d == 0 then
        mare.fail("%s: dimensions count from 1, or from -1 at the end; got 0", call)
    elseif d > n or d < -n then
        mare.fail("%s: dimension %d is out of range for shape %s", call, d, x.shape)
    end
    return d > 0 and d or d + n + 1
end

local function positive(call, what, v)
    if math.type(v) ~= "integer" or v < 1 then
        mare.fail("%s: %s must be a positive integer, not %s", call, what, tostring(v))
    end
    return v
end

local function tensors(call, list)
    if type(list) ~= "table" or #list == 0 then
        mare.fail("%s: expected a list of tensors, not %s", call,
            type(list) == "table" and "an empty one" or type(list))
    end
    for i, x in ipairs(list) do
        if not mare.is_tensor(x) then
            mare.fail("%s: entry %d is a %s, not a tensor", call, i, type(x))
        end
    end
    return list
end

-- ---- Parts -------------------------------------------------------------------------------------

local function parts(x, size, dim)
    local total, list = x.shape[dim], {}
    for start = 1, total, size do
        list[#list + 1] = x:narrow(dim, start, math.min(size, total - start + 1))
    end
    if total == 0 then list[1] = x end
    return list
end

--- A list of tensors of `size` entries along a dimension, the last may be smaller; or of the sizes
--- in a list, which add up to the dimension.
function mare.split(x, size, dim)
    dim = dim_of("split", x, dim)
    if type(size) ~= "table" then return parts(x, positive("split", "the size", size), dim) end
    local list, start = {}, 1
    for i, n in ipairs(size) do
        if math.type(n) ~= "integer" or n < 0 then
            mare.fail("split: size %d is %s", i, tostring(n))
        end
        if start - 1 + n <= x.shape[dim] then list[i] = x:narrow(dim, start, n) end
        start = start + n
    end
    if start - 1 ~= x.shape[dim] then
        mare.fail("split: the sizes add up to %d, which dimension %d of shape %s is not",
            start - 1, dim, x.shape)
    end
    return list
end

--- A list of at most n tensors of about equal size along a dimension.
function mare.chunk(x, n, dim)
    dim = dim_of("chunk", x, dim)
    positive("chunk", "the number of chunks", n)
    return parts(x, math.max(1, (x.shape[dim] + n - 1) // n), dim)
end

--- A list of n tensors along a dimension whose sizes differ by 1 at most, the larger first; or of
--- what stands between cuts: a list of how many entries stand before each.
function mare.tensor_split(x, cuts, dim)
    dim = dim_of("tensor_split", x, dim)
    local total, list = x.shape[dim], {}
    if type(cuts) ~= "table" then
        local n = positive("tensor_split", "the number of parts", cuts)
        local at = 0
        cuts = {}
        for i = 1, n - 1 do
            at = at + total // n + (i <= total % n and 1 or 0)
            cuts[i] = at
        end
    end
    local from = 0
    for i = 1, #cuts + 1 do
        local to = cuts[i] or total
        if math.type(to) ~= "integer" then
            mare.fail("tensor_split: cut %d is %s", i, tostring(to))
        end
        to = math.max(math.min(to < 0 and to + total or to, total), 0)
        list[i] = x:narrow(dim, math.min(from, total) + 1, math.max(to - from, 0))
        from = to
    end
    return list
end

--- A list of the slices along a dimension, without it.
function mare.unbind(x, dim)
    dim = dim_of("unbind", x, dim)
    local list = {}
    for i = 1, x.shape[dim] do list[i] = x:narrow(dim, i, 1):squeeze(dim) end
    return list
end

methods.split, methods.chunk = mare.split, mare.chunk
methods.tensor_split, methods.unbind = mare.tensor_split, mare.unbind

-- ---- Grids -------------------------------------------------------------------------------------

--- Vectors as grids: a list of tensors, each of which holds its own coordinate of every point.
--- { indexing = "xy" } exchanges the first two dimensions, as in pictures; "ij" is the default.
function mare.meshgrid(list, options)
    tensors("meshgrid", list)
    local indexing = options and options.indexing or "ij"
    if indexing ~= "ij" and indexing ~= "xy" then
        mare.fail("meshgrid: indexing is \"ij\" or \"xy\", not %s", tostring(indexing))
    end
    local shape, grids = {}, {}
    local function axis(i) return indexing == "xy" and #list > 1 and i <= 2 and 3 - i or i end
    for i, x in ipairs(list) do
        if x.ndim > 1 then
            mare.fail("meshgrid: entry %d has shape %s; vectors are needed", i, x.shape)
        end
        shape[axis(i)] = x:numel()
    end
    for i, x in ipairs(list) do
        local own = {}
        for d = 1, #list do own[d] = d == axis(i) and x:numel() or 1 end
        grids[i] = x:reshape(own):expand(shape)
    end
    return grids
end

--- A list of the tensors, stretched to the shape that they have together.
function mare.broadcast_tensors(list)
    tensors("broadcast_tensors", list)
    local shape, rank = {}, 0
    for _, x in ipairs(list) do rank = math.max(rank, x.ndim) end
    for d = 1, rank do shape[d] = 1 end
    for _, x in ipairs(list) do
        for d, n in ipairs(x.shape) do
            local at = d + rank - x.ndim
            if shape[at] == 1 then shape[at] = n end
        end
    end
    local out = {}
    for i, x in ipairs(list) do out[i] = x:expand(shape) end
    return out
end

--- All combinations of one element of each vector, as rows.
function mare.cartesian_prod(list)
    local grids = mare.meshgrid(list)
    if #grids == 1 then return grids[1] end
    for i, x in ipairs(grids) do grids[i] = x:reshape(-1) end
    return mare.stack(grids, 2)
end

--- All choices of r elements (2 by default) of a vector, as rows in order; { with_replacement =
--- true } may take an element again.
function mare.combinations(x, r, options)
    r = r or 2
    if not mare.is_tensor(x) or x.ndim ~= 1 then
        mare.fail("combinations: expected a vector, not %s",
            mare.is_tensor(x) and "shape " .. x.shape or type(x))
    end
    if math.type(r) ~= "integer" or r < 0 then mare.fail("combinations: r is %s", tostring(r)) end
    local n, step = #x, options and options.with_replacement and 0 or 1
    local places, row, count = {}, {}, 0
    local function choose(k, from)
        if k > r then
            table.move(row, 1, r, #places + 1, places)
            count = count + 1
            return
        end
        for i = from, n - 1 do
            row[k] = i
            choose(k + 1, i + step)
        end
    end
    if r == 0 then return mare.zeros(0, { dtype = x.dtype }) end
    choose(1, 0)
    if count == 0 then return mare.zeros(0, r, { dtype = x.dtype }) end
    return x:take(mare.tensor(places, { dtype = "i32" })):reshape(count, r)
end

-- ---- Contraction -------------------------------------------------------------------------------

--- Sums of products over dims of both: the last `dims` of a and the first of b (2 by default), or
--- those in two lists, { of a, of b }.
function mare.tensordot(a, b, dims)
    tensors("tensordot", { a, b })
    dims = dims or 2
    if type(dims) ~= "table" then
        if math.type(dims) ~= "integer" or dims < 0 or dims > a.ndim or dims > b.ndim then
            mare.fail("tensordot: %s dims of %s and %s", tostring(dims), a.shape, b.shape)
        end
        local of_a, of_b = {}, {}
        for i = 1, dims do of_a[i], of_b[i] = a.ndim - dims + i, i end
        dims = { of_a, of_b }
    elseif type(dims[1]) ~= "table" or type(dims[2]) ~= "table" or #dims[1] ~= #dims[2] then
        mare.fail("tensordot: expected two lists of as many dims")
    end
    local left, right, out = {}, {}, {}
    for k, d in ipairs(dims[1]) do
        left[dim_of("tensordot", a, d)] = string.char(64 + k)
        right[dim_of("tensordot", b, dims[2][k])] = string.char(64 + k)
    end
    local next = 97
    for _, side in ipairs { { left, a }, { right, b } } do
        for d = 1, side[2].ndim do
            if not side[1][d] then
                side[1][d] = string.char(next)
                out[#out + 1], next = side[1][d], next + 1
            end
        end
    end
    local equation = table.concat(left) .. "," .. table.concat(right) .. "->" .. table.concat(out)
    return mare.einsum(equation, { a, b })
end
methods.tensordot = mare.tensordot
