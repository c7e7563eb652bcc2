/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/text.h"

#include "base/check.h"
#include "config/hcl.h"
#include "config/json.h"

enum config_format config_format_of(const char *file)
{
    struct bytes name = bytes_str(file);

    if (name.n >= 5 &&
        bytes_eq_fold(bytes_skip(name, name.n - 5), bytes_str(".json")))
        return CONFIG_FORMAT_JSON;
    if (name.n >= 4 &&
        bytes_eq_fold(bytes_skip(name, name.n - 4), bytes_str(".hcl")))
        return CONFIG_FORMAT_HCL;
    return CONFIG_FORMAT_NONE;
}

enum err config_format_parse(struct bytes word, enum config_format *ret)
{
    if (bytes_is(word, "json"))
        *ret = CONFIG_FORMAT_JSON;
    else if (bytes_is(word, "hcl"))
        *ret = CONFIG_FORMAT_HCL;
    else
        return ERR_BAD;
    return ERR_OK;
}

static bool only_space(struct bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!text.p[i] || !strchr(" \t\r\n", text.p[i]))
            return false;
    }
    return true;
}

enum err config_text_parse(enum config_format format, const char *file,
                           struct bytes text, struct arena *arena,
                           struct config_value **ret, struct errtext *t)
{
    struct config_value *v = NULL;

    require(format != CONFIG_FORMAT_NONE);
    if (format == CONFIG_FORMAT_HCL || only_space(text))
        return config_hcl_parse(file, text, arena, ret, t);
    enum err e = config_json_parse(file, text, arena, &v, t);
    if (e != ERR_OK)
        return e;
    if (v->kind != CONFIG_OBJECT) {
        config_fail(t, &v->pos, "a configuration is an object, not %s",
                    config_kind_text(v->kind));
        return ERR_BAD;
    }
    *ret = v;
    return ERR_OK;
}
