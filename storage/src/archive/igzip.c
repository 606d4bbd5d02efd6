/* ISA-L's gzip in one call. It is compiled against the system's header, so that Rust repeats no layout. */
#include <isa-l/igzip_lib.h>
#include <stddef.h>
#include <stdint.h>

/* Level 2 is as fast as level 1, and smaller. */
#define LEVEL 2
#define TABLES ISAL_DEF_LVL2_DEFAULT

size_t intellistor_igzip_tables(void)
{
    return TABLES;
}

/* Answers the bytes written, or 0 when `out` is too small. */
size_t intellistor_igzip(uint8_t *in, uint32_t in_bytes, uint8_t *out, uint32_t out_bytes, uint8_t *tables)
{
    struct isal_zstream stream;

    isal_deflate_init(&stream);
    stream.level = LEVEL;
    stream.level_buf = tables;
    stream.level_buf_size = TABLES;
    stream.gzip_flag = IGZIP_GZIP;
    stream.end_of_stream = 1;
    stream.next_in = in;
    stream.avail_in = in_bytes;
    stream.next_out = out;
    stream.avail_out = out_bytes;
    if (isal_deflate(&stream) != COMP_OK || stream.internal_state.state != ZSTATE_END)
        return 0;
    return stream.total_out;
}
