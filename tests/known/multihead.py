import torch
import torch.nn.functional as F


def forward(query, key, value, o):
    """PyTorch's, in the order [L, N, E]; Mare's options by name."""
    def batched(x):
        return x.transpose(0, 1) if o.get("batch_first") else x

    weight, separate = o["in_proj_weight"], isinstance(o["in_proj_weight"], list)
    q, k, v = weight if separate else (None, None, None)
    mask, causal = o.get("attn_mask"), o.get("is_causal")
    if causal:
        late = torch.ones(query.shape[-3 if not o.get("batch_first") else -2],
                          key.shape[-3 if not o.get("batch_first") else -2]).triu(1).bool()
        mask = late if mask is None else mask.masked_fill(late, float("-inf"))
    y, weights = F.multi_head_attention_forward(
        batched(query), batched(key), batched(value), o["out_proj_weight"].shape[0], o["heads"],
        None if separate else weight, o.get("in_proj_bias"), None, None, False, 0.0,
        o["out_proj_weight"], o.get("out_proj_bias"), training=True,
        key_padding_mask=o.get("key_padding_mask"), need_weights=True, attn_mask=mask,
        use_separate_proj_weight=separate, q_proj_weight=q, k_proj_weight=k, v_proj_weight=v)
    return (batched(y), weights) if o.get("need_weights") else batched(y)


def cases(k):
    def case(q=(3, 2, 4), s=(5, 2, 4), bias=True, **more):
        width = 4
        options = {"heads": 2, "in_proj_weight": k.input(3 * width, width),
                   "out_proj_weight": k.input(width, width)}
        if bias:
            options["in_proj_bias"] = k.input(3 * width)
            options["out_proj_bias"] = k.input(width)
        options.update(more)
        k.case("multi_head_attention_forward", [k.input(*q), k.input(*s), k.input(*s), options],
               forward)

    case(need_weights=True)
    case(bias=False)
    case(batch_first=True, q=(2, 3, 4), s=(2, 5, 4))
    case(q=(3, 4), s=(5, 4), need_weights=True)
    case(q=(4, 2, 4), s=(4, 2, 4), is_causal=True, need_weights=True)
    case(attn_mask=k.input(3, 5), need_weights=True)
    case(attn_mask=k.input(4, 3, 5))
    case(key_padding_mask=k.input(2, 5, lo=0, hi=1, dtype="bool"), need_weights=True)
    case(attn_mask=k.input(3, 5), key_padding_mask=k.input(2, 5, lo=0, hi=1, dtype="bool"))
