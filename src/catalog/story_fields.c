/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Which fields of a service or a node differ. */
#include "catalog/story.h"

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_NAME] = "Name",
    [FIELD_ID] = "ID",
    [FIELD_ADDRESS] = "Address",
    [FIELD_PORT] = "Port",
    [FIELD_TAGS] = "Tags",
    [FIELD_META] = "Meta",
    [FIELD_TAGGED] = "TaggedAddresses",
    [FIELD_WEIGHTS] = "Weights",
    [FIELD_OVERRIDE] = "EnableTagOverride",
    [FIELD_KIND] = "Kind",
    [FIELD_PROXY] = "Proxy",
    [FIELD_CONNECT] = "Connect",
    [FIELD_OTHER] = "Other",
};

const char *story_field_name(enum story_field f)
{
    return field_names[f];
}

static uint32_t bit(bool same, enum story_field f)
{
    return same ? 0 : (uint32_t)1 << f;
}

uint32_t story_service_fields(const struct service_view *a,
                              const struct service_view *b)
{
    return bit(bytes_eq(a->name, b->name), FIELD_NAME) |
           bit(bytes_eq(a->id, b->id), FIELD_ID) |
           bit(bytes_eq(a->address, b->address), FIELD_ADDRESS) |
           bit(a->port == b->port, FIELD_PORT) |
           bit(packed_eq(a->tags, b->tags), FIELD_TAGS) |
           bit(packed_eq(a->meta, b->meta), FIELD_META) |
           bit(packed_eq(a->tagged, b->tagged), FIELD_TAGGED) |
           bit(a->weight_passing == b->weight_passing &&
                   a->weight_warning == b->weight_warning,
               FIELD_WEIGHTS) |
           bit(a->enable_tag_override == b->enable_tag_override,
               FIELD_OVERRIDE) |
           bit(bytes_eq(a->kind, b->kind), FIELD_KIND) |
           bit(bytes_eq(a->proxy, b->proxy), FIELD_PROXY) |
           bit(bytes_eq(a->connect, b->connect), FIELD_CONNECT) |
           bit(bytes_eq(a->extra, b->extra), FIELD_OTHER);
}

uint32_t story_node_fields(const struct node_view *a, const struct node_view *b)
{
    return bit(bytes_eq(a->name, b->name), FIELD_NAME) |
           bit(bytes_eq(a->id, b->id), FIELD_ID) |
           bit(bytes_eq(a->address, b->address), FIELD_ADDRESS) |
           bit(packed_eq(a->tagged, b->tagged), FIELD_TAGGED) |
           bit(packed_eq(a->meta, b->meta), FIELD_META);
}
