/**
 * Tells the language of a text: by its script where that is enough, else by its most frequent small words.
 *
 * A few lines instead of a model: it must run on every request within some 100 µs.
 */
export const NAMES = {
  en: 'English', de: 'German', fr: 'French', es: 'Spanish', it: 'Italian', pt: 'Portuguese', nl: 'Dutch',
  ru: 'Russian', el: 'Greek', ar: 'Arabic', he: 'Hebrew', hi: 'Hindi', th: 'Thai', ja: 'Japanese', ko: 'Korean',
  zh: 'Chinese',
};

/** Ranges of characters. Japanese comes before Chinese, because it uses the same ideographs beside its own letters. */
const SCRIPTS = [
  ['ja', /[\u3040-\u30ff]/g], ['ko', /[\u1100-\u11ff\uac00-\ud7af]/g], ['zh', /[\u4e00-\u9fff]/g],
  ['ru', /[\u0400-\u04ff]/g], ['el', /[\u0370-\u03ff]/g], ['ar', /[\u0600-\u06ff]/g], ['he', /[\u0590-\u05ff]/g],
  ['hi', /[\u0900-\u097f]/g], ['th', /[\u0e00-\u0e7f]/g],
];

const WORDS = {
  en: 'the and of to is in that it for you with this are what how',
  de: 'der die das und ist nicht ein eine mit zu den auf für wie ich',
  fr: 'le la les et est une des que pour dans pas avec sur qui vous',
  es: 'el los las que una por con para del como está es más pero cómo',
  it: 'il che di una per con non sono del della come gli è più questo',
  pt: 'o os que uma não para com do da em por mais como é você',
  nl: 'de het een en van is dat niet met voor op zijn hoe ik wat',
};

const words = new Map();
for (const [language, list] of Object.entries(WORDS))
  for (const word of list.split(' ')) words.set(word, [...(words.get(word) ?? []), language]);

/** The language's code, or undefined where there is too little to tell. */
export function detect(text) {
  const letters = text.match(/\p{L}/gu)?.length ?? 0;
  if (letters === 0) return undefined;
  for (const [language, script] of SCRIPTS)
    // Japanese prose is a third kana; in the other scripts most letters are of the script.
    if ((text.match(script)?.length ?? 0) > letters * (language === 'ja' ? 0.1 : 0.4)) return language;
  const votes = new Map();
  for (const word of text.toLowerCase().split(/[^\p{L}]+/u))
    for (const language of words.get(word) ?? []) votes.set(language, (votes.get(language) ?? 0) + 1);
  const [first, second] = [...votes].sort(([, a], [, b]) => b - a);
  return first && first[1] > (second?.[1] ?? 0) ? first[0] : undefined;
}
