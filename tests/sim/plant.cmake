# SPDX-License-Identifier: Apache-2.0
# cmake -DIN=FILE -DOUT=FILE -DTEXTS=FILE -P plant.cmake: a copy of IN with each FROM of TEXTS, which must be in it
# once, changed into the TO that follows.
include(${TEXTS})
file(READ ${IN} _source)
math(EXPR _last "${COUNT} - 1")
foreach(_i RANGE 3 ${_last} 2)
  math(EXPR _k "${_i} + 1")
  string(FIND "${_source}" "${TEXT_${_i}}" _first)
  string(FIND "${_source}" "${TEXT_${_i}}" _at REVERSE)
  if(_at EQUAL -1 OR NOT _at EQUAL _first)
    message(FATAL_ERROR "${IN} does not have this text once; adapt tests/sim/plants.cmake:\n${TEXT_${_i}}")
  endif()
  string(REPLACE "${TEXT_${_i}}" "${TEXT_${_k}}" _source "${_source}")
endforeach()
file(WRITE ${OUT} "${_source}")
