# What `cmake --install` lays down: the headers, libattn, libattn-attention, the
# command, and what finds them: attn.pc, attn-attention.pc and a CMake package with
# the targets attn::attn and attn::attention. All of it can be moved: paths are
# relative to where the files end up.
set(ATTN_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/attn)

set(ATTN_HEADERS include/attn/status.h include/attn/attention.h)
set(ATTN_TARGETS attention)
set(ATTN_PKGCONFIG attn-attention)
if(NOT ATTN_OPERATOR_ONLY)
  list(APPEND ATTN_HEADERS include/attn/attn.h)
  list(APPEND ATTN_TARGETS attn)
  list(APPEND ATTN_PKGCONFIG attn)
  if(TARGET attn_command)
    file(RELATIVE_PATH from_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
    set_target_properties(attn_command PROPERTIES INSTALL_RPATH "$ORIGIN/${from_bin}")
    install(TARGETS attn_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endif()

install(FILES ${ATTN_HEADERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/attn)
install(TARGETS ${ATTN_TARGETS} EXPORT attn-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT attn-targets NAMESPACE attn:: DESTINATION ${ATTN_CMAKE_DIR})

configure_package_config_file(cmake/attn-config.cmake.in ${PROJECT_BINARY_DIR}/attn-config.cmake
  INSTALL_DESTINATION ${ATTN_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/attn-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/attn-config.cmake ${PROJECT_BINARY_DIR}/attn-config-version.cmake
  DESTINATION ${ATTN_CMAKE_DIR})

file(RELATIVE_PATH ATTN_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH ATTN_PC_LIBDIR ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH ATTN_PC_INCLUDEDIR ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
foreach(name IN LISTS ATTN_PKGCONFIG)
  configure_file(cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
