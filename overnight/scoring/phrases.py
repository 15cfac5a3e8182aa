"""The English in which models abstain, as patterns over the plain form that `abstention` makes.

One pattern a line; ``<name>`` stands for an entry of the vocabulary. Contractions are written out ("can't" is
"can not"), everything is lower case, a line break ends a sentence.
"""

import re
from typing import Final


def _one_of(words: str) -> str:
    """Turn a list of words into an alternative; an underscore is a space inside one of them."""
    return "(" + "|".join(word.replace("_", " ") for word in words.split()) + ")"


_VOCABULARY: Final[dict[str, str]] = {
    "i": "(i|we)",
    "it": "(it|this|that|the answer|(the|this|that|your) question)",
    "its": "(the|this|that|his|her|its|their|any|information)",
    "wh": _one_of("who whom whose what which when where why how if whether"),
    "is": _one_of("is are was were remains remain"),
    # adverbs, any number of them, each with the space that follows it
    "really": "("
    + _one_of(
        "really actually honestly simply just truly quite entirely completely totally absolutely exactly "
        "fully explicitly directly specifically clearly definitively accurately precisely possibly "
        "personally necessarily readily currently still also even only too very so at_all 100% seem_to "
        "appear_to"
    )
    + " )*",
    "source": "((the|this|that|your|my|any|either) )?("
    + _one_of("given provided above following supplied available current original entire same short")
    + " )?"
    + _one_of(
        "passage text context article paragraph document excerpt story source section sentence statement "
        "material data description information content question prompt input knowledge"
    )
    + r"s?\b( (in|from|of) (the|this|your) (passage|text|context|article|question|prompt))?"
    r"( (provided|given|above|alone|itself|that (is|was) (provided|given)"
    r"|(that )?you (have )?(provided|gave|given|shared)))?",
    "in source": r"((anywhere )?(in|from|by|within|based (solely |only )?on|given|according to) <source>"
    r"|here\b)",
    "say": _one_of(
        "provide mention say state contain specify give include indicate answer discuss tell offer reveal "
        "describe name list address explain have identify supply refer clarify disclose present cover "
        "note report talk elaborate show define detail speak allow support suggest convey exist "
        "make_mention make_any make_clear"
    )
    + r"\b",
    "said": _one_of(
        "mentioned stated specified provided given found available included listed named described "
        "discussed indicated addressed disclosed contained answered answerable covered clear present "
        "explained identified applicable enough sufficient"
    ),
    "answer": _one_of(
        "answer determine say tell find provide give help assist identify confirm know see comment verify "
        "locate specify infer offer recall remember respond conclude state supply access discern deduce "
        "fulfill complete comply do_that do_this speculate guess make be_sure be_certain"
    )
    + r"\b",
    "unknown": _one_of(
        "unknown unclear uncertain unanswerable undetermined unspecified undisclosed not_known not_clear "
        "not_certain"
    ),
    "sort of": "("
    + _one_of(
        "specific direct explicit clear further relevant definitive known other such correct sufficient"
    )
    + " )*",
    "information": _one_of("information mention answer details? data indication context reference"),
    # how a clause after "but" begins when it still claims nothing
    "aside": r"((i|you|we|if|please|let|feel|here|there|this|that|sorry|thanks?|not|no|unfortunately|based"
    r"|according|more|further|it (do|does|is not|says|mentions|states|only|also|gives))\b|<source>)",
    "lack": "(no|not (any|enough|sufficient)|insufficient)",
    # the sentence ends here, or goes on with a reason
    "end": r"(?=\s*($|[.!?;\n]|[,(:\u2013\u2014-]+\s*((but|sorry|because|since|given|based|not|no|there|i"
    r"|please)\b|(as|it|this) (is|does|was|the|it|i|there|no)\b|<source>)))",
}


def _compile(lines: str) -> re.Pattern[str]:
    patterns = []
    for line in lines.strip().splitlines():
        pattern = line.strip()
        while "<" in pattern:  # an entry may name others
            pattern = re.sub(r"<([a-z ]+)>", lambda name: _VOCABULARY[name[1]], pattern)
        patterns.append(f"({pattern})")
    return re.compile("|".join(patterns))


# Politeness, labels and other words before the first one that matters.
FILLER: Final = _compile(
    r"""
    [\s'(),.:;!?-]+
    ((final|short) )?(answer|response|reply|assistant|output|a)\s?:
    (the|my) ((correct|final|short) )?answer( to <source>)? (is|would be)\b( that\b)?
    (well|hmm+|hm|um+|uh|oh|ok|okay|actually|honestly|unfortunately|regrettably|alas|sorry|however|but|and)\b
    i am ((very|so|really|truly|terribly) )?(sorry|afraid)\b( (for|about) (the|any) [a-z]+)?
    (to say )?that\b
    (my apologies|i apologi[sz]e)\b( for (the|any) [a-z]+)?
    in the context of [^,.\n]{1,60},
    (based (solely |only )?on|according to|from|given|after (reading|reviewing)|in) <source>
    as an? ([^,.\n]{0,40} )?(ai|assistant|model|chatbot)\b[^,.\n]{0,60},
    (thank you|thanks) for [^,.!\n]{1,40}[.!]
    (i (think|believe)|it (seems|appears)|to be honest)\b( that\b)?
    """
)

# The speaker does not know, cannot say, or asks for more to go on.
PERSONAL: Final = _compile(
    r"""
    <i> <really>(do|did) not <really>(know|remember|recall|understand)\b
    do not know( (the answer|for sure|about|anything|who|what|which|when|where|if|whether)\b|<end>)
    <i> (am|are|was|were) <really>not <really>(sure|certain|aware|familiar|confident|clear|able|given)\b
    <i> (am|are|was|were) not (provided with|equipped|allowed|permitted|programmed|trained|designed)\b
    <i> (am|are|was|were) <really>(unsure|uncertain|unaware|unfamiliar|unclear|unable)\b
    (not <really>(sure|certain)|unsure|no (idea|clue|comment))( (about|of|<wh>)\b|<end>)
    <i> (can|could) not <really><answer>
    (can not|could not|unable to) <really>(answer|determine|tell|say)( <in source>|<end>)
    (can not|could not|unable to) <really>(answer|determine|tell|say) (this|that|the|your|it|with|due|<wh>)\b
    (can not|could not) be <really>(answered|determined|found)( <in source>|<end>)
    (can not|could not) be <really>(answered|determined|inferred|found) (with|due|because)
    <i> (do|did|could) not <really>(have|possess|find|see|get) (any|enough|sufficient|access|that|this|the)\b
    <i> (do|did) not <really>(have|possess) (an? answer|specific|knowledge|personal|details|data|real)\b
    <i> (do|did) not <really>(have|possess) <information>\b
    <i> (have|had) <really>no (<information>|idea|clue|knowledge|record|access|way of|comment)\b
    i (lack|have not been (given|provided|told|able))\b
    i (would )?need (some )?(more|additional|further) (information|context|details?)\b
    (idk|i dunno|dunno|beats me|i refuse to answer|i decline to answer)<end>
    ((could|can|would) you (please |kindly )?|please )(provide|clarify|rephrase|specify|share)\b
    you (have not|did not) (provided?|specif(y|ied)|given?)\b
    """
)

# The source does not say, or there is no answer.
IMPERSONAL: Final = _compile(
    r"""
    <source>,? <really>(do|does|did|can|could) not <really><say>
    <source> <really>(says nothing|makes no mention|lacks|fails to|is (silent|insufficient|unanswerable))\b
    <source> <really>(gives|provides|contains|has|offers|includes) (no|insufficient|nothing)\b
    <source> (is|are|was|were|has|have) <really>(not|unclear|insufficient)\b( been)? ?<really>(<said>|<end>)
    <it> (do|does|did) not <really><say>( <wh>\b| <in source>|<end>)
    (<source>|<it>) (can not|could not) be <really>(answered|determined|found|inferred|identified)\b
    (not|nowhere) <really>(<in source>|<said>( <in source>|<end>))
    <it> (is|was|has)( not| never)( been)? <really><said>( <wh>\b| <in source>|<end>)
    (<its>|<wh>) [^,.;!?\n]{1,140}? (is|are|was|were|has|have) not( been)? <really><said> <in source>
    (<its>|<wh>) [^,.;!?\n]{1,140}? <is> not <really>(mentioned|stated|specified|provided|given)<end>
    <unknown>( <in source>|<end>)
    <it> <is> <really><unknown>( <wh>\b| <in source>|<end>)
    <its> [^,.;!?\n]{1,140}? <is> <really><unknown>( <in source>|<end>)
    it is (impossible|not possible|hard|difficult) to (say|tell|know|determine|answer|identify)\b
    (n/a|none (given|provided|mentioned|stated))( <in source>|<end>)
    <lack> <sort of><information>( <is>)?( <said>)?( <in source>|<end>)
    <lack> <sort of><information>( <is>)?( <said>)? (to|about|regarding|on|for)\b
    no <sort of>(answer|information) (can|could) be <said>( <in source>|<end>)
    there <is> <lack> <sort of><information>\b
    there <is> no way to (know|say|tell|determine|answer)\b
    nothing (is |was )?(mentioned|stated|said|given)( about it)?<end>
    """
)

# What may follow an abstention and turn it into an answer: a guess,
GUESS: Final = _compile(
    r"""
    \bi (think|believe|suspect|assume|imagine|would (say|guess|assume))(?= \w)
    \bmy (best )?guess (is|would)
    \b(it|he|she|they|the answer) (may|might|could|must) (be|have been) \w
    \b(it|we|one) (can|may|could) (reasonably )?(be )?(infer(red)?|assumed?|deduced?|concluded?)\b
    \b(it is|is) implied that
    \bthe ((correct|final|most likely) )?answer (is|would be|might be|could be) (?!not|no|un|in)\w
    \b(probably|possibly|perhaps|maybe|most likely) (?!because|not)\w
    """
)
# a claim after "but" that is not about the source or the speaker,
CLAIM: Final = _compile(r"[^.!?;\n]*\b(but|though|although),? (?!<aside>)\w")
# or somebody to whom the words belong.
QUOTATION: Final = _compile(
    r"""
    \s(is|was) (the|an?)\b
    ,? (said|replied|answered|(he|she|they) (said|replied|answered))\b
    """
)
