# power_of_two, and with it everything that is stored, must have the same bits whatever the compiler
# does. So some tests are built again with the sources inside, optimised otherwise, and with fused
# multiply-add at hand where the processor of the build has it.
include(CheckCSourceRuns)
set(signal_variants O0 O3)
set(signal_variant_options_O0 -O0)
set(signal_variant_options_O3 -O3)
set(CMAKE_REQUIRED_FLAGS "-mfma -mavx2")
check_c_source_runs("int main(void) { return __builtin_cpu_supports(\"fma\") && __builtin_cpu_supports(\"avx2\") ? 0 : 1; }"
    TIDAL_HAS_FMA)
unset(CMAKE_REQUIRED_FLAGS)
if(TIDAL_HAS_FMA)
    list(APPEND signal_variants fma)
    set(signal_variant_options_fma -O3 -mfma -mavx2)
endif()
get_target_property(signal_sources tidal_signal SOURCES)
list(TRANSFORM signal_sources PREPEND "${PROJECT_SOURCE_DIR}/common/signal/")

tidal_test(test_power_two SOURCES test_power_two.c LINKS tidal_signal m
    LABEL unit TIMEOUT 120 ARGS ${PROJECT_SOURCE_DIR})
tidal_test(test_cell_decay SOURCES test_cell_decay.c LINKS tidal_signal m LABEL unit TIMEOUT 60)
tidal_test(test_cell_windows SOURCES test_cell_windows.c LINKS tidal_signal LABEL unit TIMEOUT 60)
tidal_test(test_cell_order SOURCES test_cell_order.c LINKS tidal_signal LABEL unit TIMEOUT 120)
tidal_library(tidal_ledger_support SOURCES ledger_support.c LINKS tidal_signal tidal::cmocka)
foreach(subject order registers checkpoint reads cohorts)
    tidal_test(test_ledger_${subject} SOURCES test_ledger_${subject}.c
        LINKS tidal_ledger_support m LABEL unit TIMEOUT 120)
endforeach()
tidal_test(test_ledger_golden SOURCES test_ledger_golden.c LINKS tidal_ledger_support
    LABEL unit TIMEOUT 60 ARGS ${PROJECT_SOURCE_DIR})

foreach(variant IN LISTS signal_variants)
    tidal_test(test_power_two_${variant}
        SOURCES test_power_two.c "${PROJECT_SOURCE_DIR}/common/signal/power.c" LINKS tidal_base m
        LABEL unit TIMEOUT 120 ARGS ${PROJECT_SOURCE_DIR})
    target_compile_options(test_power_two_${variant} PRIVATE ${signal_variant_options_${variant}})
    tidal_test(test_ledger_golden_${variant}
        SOURCES test_ledger_golden.c ledger_support.c ${signal_sources}
        LINKS tidal_base tidal_topology tidal_wal tidal::xxhash
        LABEL unit TIMEOUT 60 ARGS ${PROJECT_SOURCE_DIR})
    target_compile_options(test_ledger_golden_${variant}
        PRIVATE ${signal_variant_options_${variant}})
endforeach()
