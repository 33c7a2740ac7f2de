import json

from rewards.judges import JudgeBackend, JudgeReply, JudgeRequest, judge_backend


@judge_backend("keyword")
class KeywordJudge(JudgeBackend):
    """Says yes to every event whose name has a word in the reasoning."""

    accepts = frozenset({"word_length"})  # settings; an unknown one is refused
    sees_images = True  # it does not look, but a request that carries an image is fine

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        reasoning = json.loads(request.user)["reasoning"].lower().split()
        length = self.settings.get("word_length", 4)
        verdicts = {}
        for name in request.expect.names:
            found = [word for word in reasoning if word[:length] in name]
            verdicts[name] = {"evidence": " ".join(found[:1]), "verdict": "yes" if found else "no"}
        return JudgeReply(text=json.dumps(verdicts), model="keyword-1")
