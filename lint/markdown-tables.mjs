/**
 * A plugin of Prettier that leaves tables as they are written. Prettier pads each cell to the widest of its column:
 * cells that are sentences make lines of 400 columns, and one longer word changes every row.
 */
import * as markdown from 'prettier/plugins/markdown';

const { mdast } = markdown.printers;

export const { parsers } = markdown;

/** @type {Record<string, import('prettier').Printer>} */
export const printers = {
  mdast: {
    ...mdast,
    print(path, options, print, args) {
      const { node } = path;
      if (node.type !== 'table') return mdast.print(path, options, print, args);
      return options.originalText.slice(node.position.start.offset, node.position.end.offset);
    },
  },
};
