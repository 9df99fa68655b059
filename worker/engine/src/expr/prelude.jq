# What jq 1.7.1 defines and jaq lacks or defines otherwise. A definition here replaces jaq's of the same name.
def abs: if . < 0 then -. else . end;
def ascii: [.] | implode;
def @csv: if type == "array" then map(escape_csv) | join(",") else _refuse("cannot be csv-formatted, only array") end;
def @tsv: if type == "array" then map(escape_tsv) | join("	") else _refuse("cannot be tsv-formatted, only array") end;
def @json: tojson;
def @base32: tostring | encode_base32;
def @base32d: tostring | decode_base32;
def _sh_word: if type == "string" then "'\(escape_sh)'" elif type == "array" or type == "object" then _refuse("can not be escaped for shell") else tojson end;
def @sh: if type == "array" then map(_sh_word) | join(" ") else _sh_word end;
def format($f): if $f == "text" then @text elif $f == "json" then @json elif $f == "csv" then @csv elif $f == "tsv" then @tsv
  elif $f == "html" then @html elif $f == "uri" then @uri elif $f == "sh" then @sh elif $f == "base64" then @base64
  elif $f == "base64d" then @base64d elif ($f | type) == "string" then error("\($f) is not a valid format")
  else $f | _refuse("is not a valid format") end;
def add: reduce .[] as $x (null; . + $x);
def add(f): reduce f as $x (null; . + $x);
def arrays: select(type == "array");
def objects: select(type == "object");
def iterables: select(type == "array" or type == "object");
def booleans: select(type == "boolean");
def numbers: select(type == "number");
def strings: select(type == "string");
def nulls: select(. == null);
def values: select(. != null);
def scalars: select(type != "array" and type != "object");
def finites: select(isinfinite or isnan | not);
def normals: select(isnormal);
def isvalid(f): try (f | true) catch false;
def toarray: if type == "array" then . else [.] end;
def del(f): delpaths([path(f)]);
def to_entries: [keys_unsorted[] as $k | {key: $k, value: .[$k]}];
def from_entries: reduce .[] as $x ({}; . + {($x | .key // .Key // .name // .Name): ($x | if has("value") then .value else .Value end)});
def with_entries(f): to_entries | map(f) | from_entries;
def map_values(f): .[] |= f;
def walk(f): def w: if type == "object" then map_values(w) elif type == "array" then map(w) else . end | f; w;
def paths: path(..) | select(length > 0);
def paths(f): . as $dot | paths | select(. as $p | $dot | getpath($p) | f);
def leaf_paths: paths(scalars);
def pick(f): . as $top | reduce path(f) as $p (null; setpath($p; $top | getpath($p)));
def join($s): reduce .[] as $x (null; (if . == null then "" else . + $s end) + ($x | if . == null then "" elif type == "boolean" or type == "number" then tojson else . end)) // "";
def flatten($d): if $d < 0 then error("flatten depth must not be negative") else
  def level($n): reduce .[] as $x ([]; if ($x | type) == "array" and $n > 0 then . + ($x | level($n - 1)) else . + [$x] end); level($d) end;
def flatten: flatten(1000000);
def combinations: if length == 0 then [] else .[0][] as $x | (.[1:] | combinations) as $w | [$x] + $w end;
def combinations($n): . as $dot | [range($n)] | map($dot) | combinations;
def todate: strftime("%Y-%m-%dT%H:%M:%SZ");
def date: todate;
def dateadd(u; n): . + n;
def datesub(u; n): . - n;
def in(xs): . as $x | xs | has($x);
def inside(xs): . as $x | xs | contains($x);
def index($i): indices($i) | .[0];
def rindex($i): indices($i) | .[-1:][0];
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] |= $row);
def INDEX(f): INDEX(.[]; f);
def tostream: path(def r: (.[]? | r), .; r) as $p | getpath($p) | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def fromstream(f): {x: null, e: false} as $init | foreach f as $i ($init;
  if .e then $init else . end | if $i | length == 2
  then setpath(["e"]; $i[0] | length == 0) | setpath(["x"] + $i[0]; $i[1])
  else setpath(["e"]; $i[0] | length == 1) end;
  if .e then .x else empty end);
def truncate_stream(stream): . as $n | null | stream | . as $input | if (.[0] | length) > $n then setpath([0]; .[0][$n:]) else empty end;
def have_literal_numbers: true;
def have_decnum: false;
def range($from; $upto): if ($from | type) == "number" and ($upto | type) == "number" then range($from; $upto; 1) else error("Range bounds must be numeric") end;
def _stepped($from; $upto; $by): if $by == 0 then empty else range($from; $upto; $by) end;
def transpose: [range(0; map(length) | max // 0) as $i | [.[][$i]]];
def last(f): reduce f as $x (null; $x);
def nth($n; f): if $n < 0 then error("nth doesn't support negative indices") else first(skip($n; f)) end;
def getpath($path): if ($path | type) == "array" then reduce $path[] as $key (.; .[$key]) else error("Path must be specified as an array") end;
def setpath($path; $x): getpath($path) = $x;
def _modify(paths; f): reduce path(paths) as $p ([., []];
    . as [$whole, $gone] | [first($whole | getpath($p) | f)] as $new
    | if $new == [] then [$whole, $gone + [$p]] else [($whole | setpath($p; $new[0])), $gone] end)
  | . as [$whole, $gone] | $whole | delpaths($gone);
def sort_by(f): _sort_by(map([f]));
def group_by(f): _group_by(map([f]));
def unique_by(f): [group_by(f)[] | .[0]];
def unique: unique_by(.);
def min_by(f): _min_by(map([f]));
def max_by(f): _max_by(map([f]));
def isfinite: type == "number" and (isinfinite | not);
def gamma: lgamma;
def lgamma_r: [lgamma, if tgamma < 0 then -1 else 1 end];
def nearbyint: rint;
def JOIN($index; key): [.[] | [., $index[key]]];
def JOIN($index; stream; key): stream | [., $index[key]];
def JOIN($index; stream; key; f): stream | [., $index[key]] | f;
# Regular expressions. Flags may be null, or stand with the expression in an array.
def _match_all(re; flags; $test): . as $text | (re) as $re | (flags) as $flags | $text | _match([$re, $flags, $test]);
def _pair: if type == "string" then [., null] elif type == "array" and length > 0 then [.[0], .[1]] else error(type + " not a string or array") end;
def _fields: reduce (.captures[] | select(.name != null)) as $x ({}; . + {($x.name): $x.string});
def match(re; flags): _match_all(re; flags; false)[];
def match($re): ($re | _pair) as [$r, $f] | match($r; $f);
def test(re; flags): _match_all(re; flags; true);
def test($re): ($re | _pair) as [$r, $f] | test($r; $f);
def capture(re; flags): match(re; flags) | _fields;
def capture($re): ($re | _pair) as [$r, $f] | capture($r; $f);
def scan($re; $flags): match($re; "g" + $flags) | if (.captures | length) > 0 then [.captures[].string] else .string end;
def scan($re): scan($re; null);
def splits($re; flags): split($re; flags)[];
def splits($re): splits($re; null);
def split($re; flags): . as $text | [match($re; "g" + flags) | .offset, .offset + .length] as $cuts
  | [0] + $cuts + [$text | length] | [range(0; length; 2) as $i | $text[.[$i]:.[$i + 1]]];
def sub($re; f; $flags): . as $text
  | [match($re; $flags) | {offset, length, new: [_fields | f]}] as $hits
  | if $hits == [] then $text else
      range($hits | map(.new | length) | max) as $i
      | reduce $hits[] as $hit ({made: "", at: 0};
          {made: (.made + $text[.at:$hit.offset] + $hit.new[$i]), at: ($hit.offset + $hit.length)})
      | .made + $text[.at:]
    end;
def sub($re; f): sub($re; f; "");
def gsub($re; f; flags): sub($re; f; flags + "g");
def gsub($re; f): sub($re; f; "g");
