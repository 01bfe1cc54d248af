# Writes a C file that holds the files named in LIST (one a line, below ROOT) as byte arrays:
#   cmake -DROOT=<tree> -DLIST=<file> -DOUT=<file.c> -P embed.cmake
file(STRINGS "${LIST}" names)
set(arrays "")
set(table "")
set(i 0)
foreach(name IN LISTS names)
  file(READ "${ROOT}/${name}" hex HEX)
  string(LENGTH "${hex}" length)
  math(EXPR length "${length} / 2")
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const unsigned char file${i}[] = {\n${bytes}0x00};\n")
  string(APPEND table "    {\"${name}\", file${i}, ${length}},\n")
  math(EXPR i "${i} + 1")
endforeach()
file(WRITE "${OUT}" "#include \"kernel/embedded.h\"\n\n${arrays}
const embedded_file embedded_files[] = {
${table}    {0, 0, 0},
};
")
