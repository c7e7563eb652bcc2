/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* hcl_string - HCL's strings and heredocs; a part of hcl.c. */
#ifndef CONFIG_HCL_STRING_H
#define CONFIG_HCL_STRING_H

#include "config/scan.h"

/* The opening quote stands here. *ret: arena memory. */
MUST_USE enum err hcl_read_string(struct scan *s, struct bytes *ret);

/* "<<" stands here. Ends before the line's end after the mark. */
MUST_USE enum err hcl_read_heredoc(struct scan *s, struct bytes *ret);

#endif
