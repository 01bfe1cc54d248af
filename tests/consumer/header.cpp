// The headers serve C++ as well.
#include <mare/mare.h>
#include <mare/vulkan.h>

extern "C" const char *version_from_cpp() {
    mare_vulkan_device host = {};
    return host.device ? "" : mare_version();
}
