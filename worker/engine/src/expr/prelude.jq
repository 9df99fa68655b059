# What jq 1.7.1 defines and jaq lacks or defines otherwise. A definition here replaces jaq's of the same name.
def abs: if type == "number" and . < 0 then -. else . end;
def ascii: [.] | implode;
def @csv: if type == "array" then map(escape_csv) | join(",") else error("\(type) (\(.)) cannot be csv-formatted, only an array can be") end;
def @tsv: if type == "array" then map(escape_tsv) | join("\t") else error("\(type) (\(.)) cannot be tsv-formatted, only an array can be") end;
def @json: tojson;
def @base32: tostring | encode_base32;
def @base32d: tostring | decode_base32;
def @sh: if type == "array" then map(if type == "array" or type == "object" then error("\(type) can not be escaped for shell") elif type == "string" then "'\(escape_sh)'" else tojson end) | join(" ") elif type == "object" then error("object can not be escaped for shell") elif type == "string" then "'\(escape_sh)'" else tojson end;
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
def from_entries: reduce .[] as $x ({}; . + {
  ($x | if .key == null then .k // .name // .Name // .K // .Key else .key end | if type == "string" then . else tojson end):
  ($x | if has("value") then .value elif has("v") then .v else .Value end)});
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
# Regular expressions. Each use pays for its work beforehand; flags may be null, or stand with the expression in an array.
def _flagged(re; flags): . as $text | (re) as $re | (flags) as $flags
  | (if ($re | type) == "array" then [$re[0], ($re[1] // "") + ($flags // "")] else [$re, $flags // ""] end) as $pair
  | $text | _pay_regex($pair[0]) as $paid | $pair;
def _fields: [.[] | select(.name != null) | {key: .name, value: .string}] | from_entries;
def test(re; flags): _flagged(re; flags) as [$re, $flags] | matches($re; $flags) | any;
def match(re; flags): _flagged(re; flags) as [$re, $flags] | matches($re; $flags)[] | .[0] + {captures: [.[1:][] | {offset, length, string, name}]};
def capture(re; flags): match(re; flags) | .captures | _fields;
def scan(re; flags): match(re; "g" + flags) | if (.captures | length) > 0 then [.captures[].string] else .string end;
def split(re; flags): _flagged(re; "g" + flags) as [$re, $flags] | split_($re; $flags);
def splits(re; flags): split(re; flags) | .[];
def sub(re; f; flags): _flagged(re; flags) as [$re, $flags]
  | reduce split_matches($re; $flags)[] as $x (""; . + ($x | if type == "array" then _fields | f else . end));
def gsub(re; f; flags): sub(re; f; "g" + flags);
def test(re): test(re; null);
def match(re): match(re; null);
def capture(re): capture(re; null);
def scan(re): scan(re; null);
def splits(re): splits(re; null);
def sub(re; f): sub(re; f; null);
def gsub(re; f): gsub(re; f; null);
