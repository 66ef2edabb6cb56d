// SPDX-License-Identifier: Apache-2.0
// The C++ side of test_install.py: every installed header in one translation unit, calls into both
// libraries.
#include <ndl/neuron_driver_shared_tensor_batch_op.h>
#include <neff/asm.h>
#include <neff/build.h>
#include <neff/format.h>
#include <neff/inspect.h>
#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_status.h>
#include <nrt/nrt_version.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

int main()
{
    std::unique_ptr<neff_build, void (*)(neff_build *)> build(neff_build_create("cpp"),
                                                              neff_build_destroy);
    std::vector<std::uint64_t> shape{2, 3};
    nrt_tensor_t *tensor = nullptr;
    std::uint32_t word = 0x01020304, back = 0;
    std::uint32_t cores = 0;

    if (neff_build_input(build.get(), 0, "x", "float32", 2, shape.data()) != 0)
        return 1;
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
        return 1;
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, sizeof(word), "t", &tensor) !=
            NRT_SUCCESS ||
        nrt_tensor_write(tensor, &word, 0, sizeof(word)) != NRT_SUCCESS ||
        nrt_tensor_read(tensor, &back, 0, sizeof(back)) != NRT_SUCCESS ||
        nrt_get_visible_vnc_count(&cores) != NRT_SUCCESS)
        return 1;
    nrt_tensor_free(&tensor);
    nrt_close();
    std::printf("%s, %u cores, %s\n", back == word ? "same" : "different", cores,
                nrt_get_status_as_str(NRT_SUCCESS));
    return back == word && cores > 0 ? 0 : 1;
}
