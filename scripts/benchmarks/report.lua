--- What was measured, as lines while it is measured, or as JSON at the end.

local report = { rows = {}, json = false }

---One row of figures: report.add("step", "gpt", { { "all", 3.1, "ms" }, ... }).
---@param family string
---@param subject string
---@param figures table[] each { name, value, unit }
function report.add(family, subject, figures)
    local shown = {}
    for i, figure in ipairs(figures) do
        local name, value, unit = table.unpack(figure)
        report.rows[#report.rows + 1] = ('"%s/%s/%s": {"value": %.6g, "unit": "%s"}'):format(family,
            subject, name, value, unit)
        shown[i] = ("%s %.4g%s"):format(name, value, unit ~= "" and " " .. unit or "")
    end
    if not report.json then
        print(("%-8s %-9s %s"):format(family, subject, table.concat(shown, ", ")))
        io.stdout:flush()
    end
end

---The JSON: one object, "family/subject/figure": {"value", "unit"}.
function report.finish()
    if report.json then print("{" .. table.concat(report.rows, ",\n ") .. "}") end
end

return report
