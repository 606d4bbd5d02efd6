/* A test aid, which never ships: Wine 8 has no bcryptprimitives.dll, and Rust's standard library takes its random
 * bytes from it. It is put beside the programs under test and asks advapi32's generator, which Wine has. */
#include <windows.h>

/* RtlGenRandom, under the name that it is exported by. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG bytes);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T bytes)
{
    while (bytes > 0) {
        ULONG some = bytes > 0x10000 ? 0x10000 : (ULONG)bytes;
        if (!SystemFunction036(buffer, some))
            return FALSE;
        buffer += some;
        bytes -= some;
    }
    return TRUE;
}
