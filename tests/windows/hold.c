/* A test aid: opens a file without sharing it, says so, and holds it until its standard input ends. */
#include <stdio.h>
#include <windows.h>

int wmain(int count, wchar_t **words)
{
    HANDLE file = CreateFileW(count > 1 ? words[1] : L"", GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        fprintf(stderr, "error %lu\n", GetLastError());
        return 1;
    }
    fprintf(stderr, "held\n");
    fflush(stderr);
    while (getchar() != EOF)
        ;
    return 0;
}
