# Installs Mare, moves the installation elsewhere, and builds and runs tests/consumer on it:
#   cmake -DBUILD=<build folder> -DSOURCE=<tests/consumer> -DWORK=<folder> -DLIBDIR=<lib>
#         -DGENERATOR=<cmake generator> -DFLAGS=<compile and link flags> -P consumer.cmake
cmake_minimum_required(VERSION 3.22)
file(REMOVE_RECURSE ${WORK})

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "failed with ${result}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/installed)
file(RENAME ${WORK}/installed ${WORK}/moved)
set(ENV{PKG_CONFIG_PATH} ${WORK}/moved/${LIBDIR}/pkgconfig)
foreach(variant shared static pkgconfig)
  run(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/${variant} -G ${GENERATOR} -DCONSUME=${variant}
      -DCMAKE_PREFIX_PATH=${WORK}/moved -DCMAKE_C_FLAGS=${FLAGS} -DCMAKE_CXX_FLAGS=${FLAGS}
      -DCMAKE_EXE_LINKER_FLAGS=${LINK_FLAGS})
  run(${CMAKE_COMMAND} --build ${WORK}/${variant})
  run(${WORK}/${variant}/consumer)
endforeach()
if(EXISTS ${WORK}/moved/bin/mare)
  run(${WORK}/moved/bin/mare -e "print(1 + 1)")
endif()
file(REMOVE_RECURSE ${WORK})
