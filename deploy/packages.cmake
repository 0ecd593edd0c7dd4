# SPDX-License-Identifier: Apache-2.0
# Debian packages: alkaid-server, alkaid-node, alkaid-cli, by `cpack` in the build directory. Units name absolute
# paths, so they are made from a build that was configured for its place:
#   cmake --preset release -B build/package -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_SYSCONFDIR=/etc

# Debian's revision of one version of the programs, where it is packaged more than once.
set(ALKAID_PACKAGE_VERSION ${PROJECT_VERSION} CACHE STRING "Version of the Debian packages")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME alkaid)
set(CPACK_PACKAGE_VENDOR Alkaid)
set(CPACK_PACKAGE_CONTACT "Alkaid developers <developers@alkaid.io>")
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_PACKAGE_VERSION ${ALKAID_PACKAGE_VERSION})
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL server node cli)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_SERVER_PACKAGE_NAME alkaid-server)
set(CPACK_COMPONENT_SERVER_DESCRIPTION "API server of Alkaid, declarative NIC hotplug for virtual machines
 The Kubernetes-style API in which VMs, their NICs, VPCs and subnets are
 declared; its store is a SQLite database.")
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS "alkaid-cli (= ${ALKAID_PACKAGE_VERSION}), systemd | systemd-standalone-sysusers")

set(CPACK_DEBIAN_NODE_PACKAGE_NAME alkaid-node)
set(CPACK_COMPONENT_NODE_DESCRIPTION "services of an Alkaid node, declarative NIC hotplug for virtual machines
 The watcher, which follows the node's VM pods in the API, the network service,
 which makes taps, bridges, DHCP and filters, and the hypervisor service, which
 runs VMs by libvirt and plugs their NICs.")
set(CPACK_DEBIAN_NODE_PACKAGE_DEPENDS "alkaid-cli (= ${ALKAID_PACKAGE_VERSION}), dnsmasq-base, iproute2")
set(CPACK_DEBIAN_NODE_PACKAGE_RECOMMENDS "libvirt-daemon-system, qemu-system-x86, qemu-utils")

set(CPACK_DEBIAN_CLI_PACKAGE_NAME alkaid-cli)
set(CPACK_COMPONENT_CLI_DESCRIPTION "tools of Alkaid, declarative NIC hotplug for virtual machines
 The program alkaidctl, also known as kubectl-nic: looks into a node's bus,
 records and replays it, attaches NICs and consoles, issues credentials.")

# What Debian wants of each package: copyright, changelog, maintainer scripts, conffiles.
foreach(_package server node cli)
  string(TOUPPER ${_package} _upper)
  set(_dir ${CMAKE_CURRENT_BINARY_DIR}/debian/${_package})
  file(MAKE_DIRECTORY ${_dir})
  configure_file(debian/changelog.in ${_dir}/changelog @ONLY)
  execute_process(COMMAND ${ALKAID_GZIP} -9nf ${_dir}/changelog COMMAND_ERROR_IS_FATAL ANY)
  install(FILES ${_dir}/changelog.gz debian/copyright
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/alkaid-${_package} COMPONENT ${_package})
  set(_extra "")
  foreach(_script postinst prerm postrm)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/debian/${_package}.${_script})
      configure_file(debian/${_package}.${_script} ${_dir}/${_script} COPYONLY)
      list(APPEND _extra ${_dir}/${_script})
    endif()
  endforeach()
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/debian/${_package}.conffiles)
    configure_file(debian/${_package}.conffiles ${_dir}/conffiles COPYONLY)
    list(APPEND _extra ${_dir}/conffiles)
  endif()
  set(CPACK_DEBIAN_${_upper}_PACKAGE_CONTROL_EXTRA "${_extra}")
endforeach()
include(CPack)
