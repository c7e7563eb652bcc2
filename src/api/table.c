/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api/table.h"

#include "base/check.h"

bool field_is_empty(const struct json_field *f, const void *p)
{
    switch (f->kind) {
    case FIELD_STRING:
    case FIELD_RAW:
        return ((const struct bytes *)p)->n == 0;
    case FIELD_INT:
    case FIELD_DURATION:
        return *(const int64_t *)p == 0;
    case FIELD_BOOL:
        return !*(const bool *)p;
    case FIELD_STRINGS:
        return ((const struct json_strings *)p)->n == 0;
    case FIELD_MAP:
        return ((const struct json_map *)p)->n == 0;
    case FIELD_HEADERS:
        return ((const struct json_headers *)p)->n == 0;
    case FIELD_LIST:
        return ((const struct json_list *)p)->n == 0;
    case FIELD_NAMED:
        return ((const struct json_named *)p)->n == 0;
    case FIELD_OBJECT:
        return *(void *const *)p == NULL;
    case FIELD_IGNORE:
        return true;
    }
    return true;
}

static void put_strings(struct json_out *j, const struct json_strings *v)
{
    json_open(j, '[');
    for (size_t i = 0; i < v->n; i++)
        json_str(j, v->v[i]);
    json_close(j, ']');
}

/* Lists of lists of objects are as deep as the tables are, not as the text. */
static void put_list(struct json_out *j, const struct json_table *of,
                     const struct json_list *v)
{
    json_open(j, '[');
    for (size_t i = 0; i < v->n; i++)
        table_encode(j, of, (const char *)v->v + i * of->size);
    json_close(j, ']');
}

static void put_field(struct json_out *j, const struct json_field *f,
                      const void *p)
{
    switch (f->kind) {
    case FIELD_STRING:
        json_str(j, *(const struct bytes *)p);
        break;
    case FIELD_RAW:
        json_raw(j, *(const struct bytes *)p);
        break;
    case FIELD_INT:
        json_i64(j, *(const int64_t *)p);
        break;
    case FIELD_BOOL:
        json_bool(j, *(const bool *)p);
        break;
    case FIELD_STRINGS:
        put_strings(j, p);
        break;
    case FIELD_OBJECT:
        table_encode(j, f->of, *(void *const *)p);
        break;
    case FIELD_LIST:
        put_list(j, f->of, p);
        break;
    case FIELD_DURATION:
    case FIELD_MAP:
    case FIELD_HEADERS:
    case FIELD_NAMED:
    case FIELD_IGNORE:
        require(false); /* no encoded table has such a kind */
    }
}

void table_encode(struct json_out *j, const struct json_table *table,
                  const void *in)
{
    json_open(j, '{');
    for (size_t i = 0; i < table->count; i++) {
        const struct json_field *f = &table->fields[i];
        const void *p = (const char *)in + f->offset;
        if (field_is_empty(f, p))
            continue;
        json_key(j, f->name);
        put_field(j, f, p);
    }
    json_close(j, '}');
}
