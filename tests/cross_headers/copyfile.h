/* copyfile.h - what pydurable uses of copyfile(3) of macOS; see sys/xattr.h beside it. */
#ifndef PD_CROSS_COPYFILE_H
#define PD_CROSS_COPYFILE_H

#include <stdint.h>

struct _copyfile_state;
typedef struct _copyfile_state *copyfile_state_t;
typedef uint32_t copyfile_flags_t;

#define COPYFILE_ACL (1 << 0)

int fcopyfile(int from, int to, copyfile_state_t state, copyfile_flags_t flags);

#endif
