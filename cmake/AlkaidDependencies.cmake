# SPDX-License-Identifier: Apache-2.0
# Every library comes from the distribution and is found here, once.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# A pkg-config file may say "-isystem DIRECTORY" (Debian's libzmq does). CMake's module makes an include directory of
# it at the first configuration of a build directory, and an option at each later one: other command lines, so that
# all was compiled anew. Always the former.
function(alkaid_settle_isystem target)
  get_target_property(_options ${target} INTERFACE_COMPILE_OPTIONS)
  get_target_property(_directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
  set(_others)
  if(NOT _options OR NOT "-isystem" IN_LIST _options)
    return()
  endif()
  if(NOT _directories)
    set(_directories)
  endif()
  while(_options)
    list(POP_FRONT _options _option)
    if(_option STREQUAL "-isystem")
      list(POP_FRONT _options _directory)
      list(APPEND _directories ${_directory})
    else()
      list(APPEND _others ${_option})
    endif()
  endwhile()
  set_target_properties(${target} PROPERTIES INTERFACE_COMPILE_OPTIONS "${_others}"
                                             INTERFACE_INCLUDE_DIRECTORIES "${_directories}")
endfunction()

# name of the imported target -> pkg-config module
set(_alkaid_modules
  zmq libzmq  czmq libczmq  jansson jansson  sqlite3 sqlite3  curl libcurl  microhttpd libmicrohttpd
  gnutls gnutls  libvirt libvirt  libvirt_qemu libvirt-qemu  xml2 libxml-2.0  archive libarchive  nl libnl-3.0
  nl_route libnl-route-3.0  nftables libnftables  systemd libsystemd  uuid uuid
  cmocka cmocka)
while(_alkaid_modules)
  list(POP_FRONT _alkaid_modules _name _module)
  pkg_check_modules(ALKAID_${_name} REQUIRED IMPORTED_TARGET ${_module})
  alkaid_settle_isystem(PkgConfig::ALKAID_${_name})
  add_library(alkaid_dep::${_name} ALIAS PkgConfig::ALKAID_${_name})
endwhile()

# msgpack-c: called "msgpack" by Debian 12 and "msgpack-c" by later releases.
pkg_search_module(ALKAID_msgpack REQUIRED IMPORTED_TARGET msgpack-c msgpack)
# The file of Debian 13 and Ubuntu 24.04 names a relative include directory; the headers are in the usual one.
get_target_property(_include PkgConfig::ALKAID_msgpack INTERFACE_INCLUDE_DIRECTORIES)
if(_include)
  list(FILTER _include INCLUDE REGEX "^/")
  set_target_properties(PkgConfig::ALKAID_msgpack PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_include}")
endif()
add_library(alkaid_dep::msgpack ALIAS PkgConfig::ALKAID_msgpack)

# libcyaml ships a pkg-config file under this name since 1.0.
pkg_check_modules(ALKAID_cyaml REQUIRED IMPORTED_TARGET libcyaml)
add_library(alkaid_dep::cyaml ALIAS PkgConfig::ALKAID_cyaml)

# libyaml is what libcyaml parses with; used beside it for the line and column of a key.
pkg_check_modules(ALKAID_yaml REQUIRED IMPORTED_TARGET yaml-0.1)
add_library(alkaid_dep::yaml ALIAS PkgConfig::ALKAID_yaml)

# wslay ships no pkg-config file in Debian.
find_library(ALKAID_WSLAY_LIBRARY wslay REQUIRED)
add_library(alkaid_dep_wslay INTERFACE)
target_link_libraries(alkaid_dep_wslay INTERFACE ${ALKAID_WSLAY_LIBRARY})
add_library(alkaid_dep::wslay ALIAS alkaid_dep_wslay)
