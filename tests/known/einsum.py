import torch


def cases(k):
    x = lambda *s, **o: k.input(*s, lo=-2, hi=2, **o)

    def e(equation, *tensors):
        k.case("einsum", [equation, list(tensors)], lambda q, t: torch.einsum(q, *t))

    e("ij,jk->ik", x(3, 4), x(4, 2))
    e("ij,jk", x(3, 4), x(4, 2))
    e("ba,cb", x(3, 4), x(2, 3))
    e("bij,bjk->bik", x(2, 3, 4), x(2, 4, 2))
    e("bij,bkj->ikb", x(2, 3, 4), x(2, 2, 4))
    e("i,j->ij", x(3), x(4))
    e("i,j->ji", x(3), x(4))
    e("i,i->", x(5), x(5))
    e("i,i->i", x(5), x(5))
    e("ii->", x(4, 4))
    e("ii->i", x(4, 4))
    e("ii", x(4, 4))
    e("iji->j", x(3, 2, 3))
    e("iiji->ij", x(3, 3, 2, 3))
    e("ij->ji", x(3, 4))
    e("ij->", x(3, 4))
    e("bij->bj", x(2, 3, 4))
    e("...ij->...ji", x(2, 2, 3, 4))
    e("...ij,...jk->...ik", x(2, 1, 3, 4), x(3, 4, 2))
    e("...ij,...jk", x(2, 3, 4), x(4, 2))
    e("i...->...", x(3, 2, 2))
    e("b...i,...i->b...", x(2, 3, 4), x(3, 4))
    e("ijk,ilm,njm,nlk,abc->", x(2, 2, 3), x(2, 2, 2), x(2, 2, 2), x(2, 2, 3), x(1, 2, 1))
    e("ab,bc,cd,de->ae", x(2, 5), x(5, 2), x(2, 6), x(6, 3))
    e("bn,anm,bm->ba", x(2, 4), x(3, 4, 5), x(2, 5))
    e("ij,ij,ij->i", x(3, 4), x(3, 4), x(3, 4))
    e("bhqd,bhkd->bhqk", x(1, 2, 3, 4), x(1, 2, 5, 4))
    e("Ab,bA->A", x(3, 2), x(2, 3))
    e(" i j , j k -> i k ", x(3, 4), x(4, 2))
    e("ij,jk->ik", x(3, 1), x(4, 2))
    e("ij,jk->ik", x(3, 0), x(0, 2))
    e(",i->i", x(), x(3))

    k.case("outer", [x(3), x(2)], torch.outer)
    k.case("inner", [x(3), x(3)], torch.inner)
    k.case("inner", [x(2, 3), x(4, 2, 3)], torch.inner)
    k.case("inner", [x(2, 3), x()], torch.inner)
    k.case("dot", [x(5), x(5)], torch.dot)
    k.case("vdot", [x(5), x(5)], torch.vdot)
    k.case("cross", [x(2, 3), x(2, 3)], lambda a, b: torch.linalg.cross(a, b))
    k.case("cross", [x(3, 2), x(3, 1), 1], lambda a, b, d: torch.linalg.cross(a, b, dim=0))
    k.case("kron", [x(2, 3), x(3, 2)], torch.kron)
    k.case("kron", [x(2), x(3, 2)], torch.kron)
    k.case("mv", [x(2, 3), x(3)], torch.mv)
    k.case("mm", [x(2, 3), x(3, 4)], torch.mm)
    k.case("bmm", [x(2, 2, 3), x(2, 3, 4)], torch.bmm)
    k.case("addmm", [x(4), x(2, 3), x(3, 4)], torch.addmm)
    k.case("addmm", [x(2, 4), x(2, 3), x(3, 4), 0.5, -2],
           lambda i, a, b, be, al: torch.addmm(i, a, b, beta=be, alpha=al))
    k.case("addmm", [x(2, 4), x(2, 3), x(3, 4), 0],
           lambda i, a, b, be: torch.addmm(i, a, b, beta=be))
    k.case("addmv", [x(2), x(2, 3), x(3), 2, 3],
           lambda i, a, b, be, al: torch.addmv(i, a, b, beta=be, alpha=al))
    k.case("addbmm", [x(2, 4), x(3, 2, 3), x(3, 3, 4)], torch.addbmm)
    k.case("baddbmm", [x(3, 2, 4), x(3, 2, 3), x(3, 3, 4)], torch.baddbmm)
    k.case("baddbmm", [x(2, 1), x(3, 2, 3), x(3, 3, 4), 0.5, 2],
           lambda i, a, b, be, al: torch.baddbmm(i, a, b, beta=be, alpha=al))
    k.case("addr", [x(2, 3), x(2), x(3), 0.5, 2],
           lambda i, a, b, be, al: torch.addr(i, a, b, beta=be, alpha=al))
    for n in (0, 1, 2, 5):
        k.case("matrix_power", [x(2, 3, 3), n], torch.matrix_power, grad=n > 0)
    k.case("multi_dot", [[x(2, 5), x(5, 3), x(3, 6), x(6, 2)]], torch.linalg.multi_dot)
    k.case("multi_dot", [[x(5), x(5, 3), x(3)]], torch.linalg.multi_dot)
    k.case("multi_dot", [[x(5), x(5, 3)]], torch.linalg.multi_dot)
    k.case("linear", [x(2, 3), x(4, 3)], torch.nn.functional.linear)
    k.case("linear", [x(2, 2, 3), x(4, 3), x(4)], torch.nn.functional.linear)
    k.case("linear", [x(3), x(4, 3), x(4)], torch.nn.functional.linear)
    k.case("linear", [x(2, 3), x(3), x()], lambda t, w, b: t @ w + b)
    k.case("bilinear", [x(2, 3), x(2, 4), x(5, 3, 4), x(5)], torch.nn.functional.bilinear)
    k.case("bilinear", [x(2, 2, 3), x(2, 2, 4), x(5, 3, 4)], torch.nn.functional.bilinear)
    inf = float("inf")
    for p in (0.5, 1, 2, 3, inf):
        k.case("cdist", [x(3, 4), x(2, 4), p], torch.cdist, tolerance=1e-4)
        k.case("pairwise_distance", [x(3, 4), x(3, 4), p],
               lambda a, b, q: torch.nn.functional.pairwise_distance(a, b, q), tolerance=1e-4)
    k.case("cdist", [x(3, 4), x(2, 4), 0], torch.cdist, grad=False)
    k.case("cdist", [x(2, 3, 4), x(2, 4), 2, "use_mm_for_euclid_dist"],
           lambda a, b, p, m: torch.cdist(a, b, p, m), tolerance=1e-4)
    k.case("cdist", [x(27, 2), x(2, 2)], torch.cdist, tolerance=1e-4)
    k.case("pairwise_distance", [x(3, 4), x(4), 2, 0.01, True],
           lambda a, b, p, e, d: torch.nn.functional.pairwise_distance(a, b, p, e, d))
    k.case("cosine_similarity", [x(3, 4), x(3, 4)], torch.nn.functional.cosine_similarity)
    k.case("cosine_similarity", [x(3, 4), x(4), -1],
           lambda a, b, d: torch.nn.functional.cosine_similarity(a, b, -1))
    k.case("cosine_similarity", [x(3, 2), x(3, 2), 1, 3],
           lambda a, b, d, e: torch.nn.functional.cosine_similarity(a, b, 0, e), grad=False)

    k.case("solve", [x(3, 3), x(3, 2)], torch.linalg.solve, tolerance=1e-3)
    k.case("solve", [k.input(2, 3, 3, lo=1, hi=9), x(2, 3)], torch.linalg.solve, tolerance=1e-3)
    k.case("inverse", [x(2, 3, 3)], torch.linalg.inv, tolerance=1e-3)
    k.case("det", [x(2, 3, 3)], torch.linalg.det, tolerance=1e-4)
    k.case("det", [x(1, 1)], torch.linalg.det)
    k.case("slogdet", [x(2, 4, 4)], torch.linalg.slogdet, tolerance=1e-3)
    k.case("cholesky", [k.input(2, 1, 1, lo=1, hi=2)], torch.linalg.cholesky)
