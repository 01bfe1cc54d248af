std = "lua54"
max_line_length = 100
files["tests/**/*_spec.lua"] = { read_globals = { "describe", "it", "skip" } }
files["tests/lua/run.lua"] = { globals = { "describe", "it", "skip" } }
files["tests/known"] = { max_line_length = false }
