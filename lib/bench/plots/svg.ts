type Attributes = Readonly<Record<string, string | number | undefined>>;

/** Text as it may stand between tags and in attributes. Characters that XML has no place for go. */
export function escapeText(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&apos;',
  };
  // These are what XML 1.0 forbids.
  return text
    .replace(
      /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
      '',
    )
    .replace(/[&<>"']/g, (character) => entities[character]!);
}

/** An element around elements that are written already. */
export function element(name: string, attributes: Attributes, children: readonly string[] = []): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? rounded(value) : escapeText(value!)}"`)
    .join('');
  return children.length === 0 ? `<${name}${written}/>` : `<${name}${written}>${children.join('')}</${name}>`;
}

/** An element around text. */
export function textElement(name: string, attributes: Attributes, text: string): string {
  return element(name, attributes, [escapeText(text)]);
}

/** Hundredths of a pixel are enough. */
export function rounded(value: number): string {
  return String(Math.round(value * 100) / 100);
}
