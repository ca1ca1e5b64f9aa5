/*
 * xattr.h - the calls of macOS on extended attributes that pydurable makes, as getxattr(2),
 * setxattr(2) and listxattr(2) of macOS describe them.
 *
 * The cross compiler of the tests brings macOS's C library headers without this one.  On a Mac the
 * system's own is used.
 */
#ifndef PD_CROSS_XATTR_H
#define PD_CROSS_XATTR_H

#include <stdint.h>
#include <sys/types.h>

ssize_t fgetxattr(int fd, const char *name, void *value, size_t size, uint32_t position,
                  int options);
int fsetxattr(int fd, const char *name, const void *value, size_t size, uint32_t position,
              int options);
ssize_t flistxattr(int fd, char *names, size_t size, int options);

#endif
