--- One picture of kernels' rows: bars of the share of the device's limit, family by family.

local svg = {}

local WIDTH, LABEL, BAR, GAP, HEAD = 900, 330, 13, 4, 70
local TICK, AXIS = 0.25, 1.25 -- of the limit; bars of more, where caches hold the data, end there
local SCALE = (WIDTH - LABEL - 60) / AXIS -- room for a figure behind the longest bar
local COLOURS = { f32 = "#3b6ea5", f16 = "#d98324", bf16 = "#5f9e57", i8 = "#9a5fa5" }
local OTHER = "#777777"

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escaped(text) return (text:gsub('[&<>"]', ENTITIES)) end

local function text_at(x, y, text, more)
    return ('<text x="%.1f" y="%.1f"%s>%s</text>'):format(x, y, more or "", escaped(text))
end

local function rect(x, y, width, height, colour)
    return ('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>'):format(x, y, width,
        height, colour)
end

-- Colours beside the element types that they stand for.
local function add_legend(parts, rows, y)
    local seen, x = {}, LABEL
    for _, row in ipairs(rows) do
        if not seen[row.figure] then
            seen[row.figure] = true
            parts[#parts + 1] = rect(x, y - 9, 10, 10, COLOURS[row.figure] or OTHER)
            parts[#parts + 1] = text_at(x + 14, y, row.figure)
            x = x + 60
        end
    end
end

local function add_ticks(parts, top, bottom)
    for i = 0, AXIS // TICK do
        local share = i * TICK
        local x = LABEL + share * SCALE
        parts[#parts + 1] = ('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>'):format(
            x, top, x, bottom, share == 1 and "#000000" or "#cccccc")
        parts[#parts + 1] = text_at(x, top - 4, ("%.0f%%"):format(100 * share),
            ' text-anchor="middle"')
    end
end

---The picture as a text.
---@param title string
---@param rows bench.row[] those without a share are left out
---@return string
function svg.bars(title, rows)
    local list, bars, family, y = {}, {}, nil, HEAD
    for _, row in ipairs(rows) do
        if row.share then list[#list + 1] = row end
    end
    for _, row in ipairs(list) do
        if row.family ~= family then
            family = row.family
            y = y + BAR + GAP
            bars[#bars + 1] = text_at(8, y + BAR - 3, family, ' font-weight="bold"')
        end
        bars[#bars + 1] = text_at(LABEL - 6, y + BAR - 3, row.case, ' text-anchor="end"')
        local length = math.min(row.share, AXIS) * SCALE
        bars[#bars + 1] = rect(LABEL, y, length, BAR, COLOURS[row.figure] or OTHER)
        bars[#bars + 1] = text_at(LABEL + length + 4, y + BAR - 3,
            ("%.0f%%"):format(100 * row.share))
        y = y + BAR + GAP
    end
    local height = y + 20
    local parts = {
        ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
            .. 'font-family="sans-serif" font-size="11">'):format(WIDTH, height, WIDTH, height),
        rect(0, 0, WIDTH, height, "#ffffff"),
        text_at(8, 20, title, ' font-size="14" font-weight="bold"'),
    }
    add_legend(parts, list, 40)
    add_ticks(parts, HEAD, height - 12)
    table.move(bars, 1, #bars, #parts + 1, parts)
    parts[#parts + 1] = "</svg>\n"
    return table.concat(parts, "\n")
end

return svg
