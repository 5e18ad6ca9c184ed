// What the tests call. KERNEL(name, arguments) is generated for every kernel that the backend knows.

extern "C" void armor_emulator_allocated(void* address, size_t size)
{
    std::lock_guard guard(emulator::allocations_lock);
    emulator::allocations[reinterpret_cast<uintptr_t>(address)] = size;
    emulator::allocations_version++;
}

extern "C" void armor_emulator_freed(void* address)
{
    std::lock_guard guard(emulator::allocations_lock);
    emulator::allocations.erase(reinterpret_cast<uintptr_t>(address));
    emulator::allocations_version++;
}

#define KERNEL(NAME, ARGUMENTS) \
    extern "C" void NAME##_emulated(const void* arguments, uint32_t x, uint32_t y, uint32_t z, uint32_t threads, uint32_t seed, char* error) \
    { \
        emulator::launch([](const void* p) { NAME(*static_cast<const ARGUMENTS*>(p)); }, arguments, { x, y, z }, threads, seed, error); \
    }
