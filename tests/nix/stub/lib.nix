# As much of nixpkgs.lib as our Nix files use, so that they can be evaluated and built where nixpkgs can not be
# fetched. Options, types, priorities and assertions behave as there.
let
  inherit (builtins)
    all
    attrNames
    attrValues
    concatLists
    concatMap
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    fromJSON
    fromTOML
    hasAttr
    head
    isAttrs
    isBool
    isFloat
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    map
    mapAttrs
    match
    readFile
    removeAttrs
    split
    stringLength
    substring
    toJSON
    ;

  lib = rec {
    inherit
      all
      attrNames
      attrValues
      concatMap
      concatStringsSep
      elem
      filter
      foldl'
      head
      length
      mapAttrs
      ;

    # Values
    nameValuePair = name: value: { inherit name value; };
    genAttrs = names: make: listToAttrs (map (name: nameValuePair name (make name)) names);
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    optionalAttrs = condition: attrs: if condition then attrs else { };
    optionalString = condition: text: if condition then text else "";
    filterAttrs =
      keep: attrs: removeAttrs attrs (filter (name: !(keep name attrs.${name})) (attrNames attrs));
    mapAttrsToList = make: attrs: map (name: make name attrs.${name}) (attrNames attrs);
    concatMapAttrs = make: attrs: foldl' (all: more: all // more) { } (mapAttrsToList make attrs);
    recursiveUpdate =
      left: right:
      left
      // mapAttrs (
        name: value:
        if isAttrs value && !(isDerivation value) && isAttrs (left.${name} or null) then
          recursiveUpdate left.${name} value
        else
          value
      ) right;
    last = list: elemAt list (length list - 1);
    isDerivation = value: isAttrs value && (value.type or "") == "derivation";
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    splitString = separator: text: filter isString (split (escapeRegex separator) text);
    escapeRegex = builtins.replaceStrings [ "." "[" "]" ] [ "\\." "\\[" "\\]" ];
    toInt =
      text:
      let
        number = fromJSON text;
      in
      if isInt number then number else throw "${text} is no number";
    escapeShellArg = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
    escapeShellArgs = arguments: concatStringsSep " " (map escapeShellArg arguments);
    importTOML = path: fromTOML (readFile path);
    importJSON = path: fromJSON (readFile path);
    getExe = package: "${package}/bin/${package.meta.mainProgram}";
    literalExpression = text: text;
    literalMD = text: text;
    licenses.agpl3Plus.spdxId = "AGPL-3.0-or-later";
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];

    fileset = {
      unions = paths: map toString paths;
      toSource =
        { root, fileset }:
        builtins.path {
          path = root;
          name = "source";
          filter =
            path: _type:
            builtins.any (kept: path == kept || hasPrefix "${kept}/" path || hasPrefix "${path}/" kept) fileset;
        };
    };

    # Options
    mkOption = attrs: attrs // { _type = "option"; };
    mkEnableOption =
      what:
      mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    mkPackageOption =
      pkgs: name: _:
      mkOption {
        type = types.package;
        default = pkgs.${name};
      };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkOverride = priority: content: {
      _type = "override";
      inherit priority content;
    };
    mkForce = mkOverride 50;
    mkDefault = mkOverride 1000;

    # A type checks one value and merges several; `where` is the option's name, for messages.
    types =
      let
        one =
          name: check: {
            inherit name check;
            merge =
              where: values:
              let
                value = head values;
              in
              if !(all (other: other == value) values) then
                throw "The option `${where}' has conflicting definition values."
              else if !(check value) then
                throw "A definition for option `${where}' is not of type `${name}'."
              else
                value;
          };
        isPlain = value: isAttrs value && !(isDerivation value);
      in
      rec {
        bool = one "boolean" isBool;
        int = one "signed integer" isInt;
        str = one "string" isString;
        port = one "16 bit unsigned integer" (value: isInt value && value >= 0 && value <= 65535);
        path = one "path" (
          value: isPath value || isDerivation value || (isString value && hasPrefix "/" value)
        );
        package = one "package" isDerivation;
        raw = one "raw value" (_: true);
        enum = values: one "one of ${toJSON values}" (value: elem value values);
        strMatching =
          pattern: one "string matching the pattern ${pattern}" (value: isString value && match pattern value != null);
        lines = str // {
          merge = where: values: concatStringsSep "\n" (map (value: str.merge where [ value ]) values);
        };
        nullOr = type: {
          name = "null or ${type.name}";
          merge = where: values: if all (value: value == null) values then null else type.merge where values;
        };
        listOf = type: {
          name = "list of ${type.name}";
          merge =
            where: values:
            if all isList values then
              map (value: type.merge where [ value ]) (concatLists values)
            else
              throw "A definition for option `${where}' is not of type `list of ${type.name}'.";
        };
        attrsOf = type: {
          name = "attribute set of ${type.name}";
          merge =
            where: values:
            if all isPlain values then
              mapAttrs (name: values: merged type "${where}.${name}" values) (gather values)
            else
              throw "A definition for option `${where}' is not of type `attribute set of ${type.name}'.";
        };
        # What TOML and JSON can say.
        value = {
          name = "value";
          merge =
            where: values:
            if all isPlain values then
              mapAttrs (name: values: merged value "${where}.${name}" values) (gather values)
            else if all isList values then
              concatLists values
            else
              raw.merge where values;
        };
        submodule = module: {
          name = "submodule";
          merge =
            where: values:
            (evalModules {
              inherit where;
              modules = [ module ] ++ map (value: { config = value; }) values;
            }).config;
        };
      };

    # { a = [ values of all sets that have it ]; … }, conditions undone.
    gather =
      sets:
      let
        pushed = concatMap push sets;
        names = attrNames (foldl' (all: set: all // set) { } pushed);
      in
      filterAttrs (_: values: values != [ ]) (
        genAttrs names (name: concatMap (set: optional (hasAttr name set) set.${name}) pushed)
      );

    # Moves conditions and priorities into a set, without looking at them.
    push =
      set:
      let
        into = wrap: map (mapAttrs (_: wrap)) (push set.content);
        kind = set._type or null;
      in
      if kind == "merge" then
        concatMap push set.contents
      else if kind == "if" then
        into (mkIf set.condition)
      else if kind == "override" then
        into (mkOverride set.priority)
      else
        [ set ];

    # The values that count, with their priorities.
    discharge =
      definition:
      let
        kind = if isAttrs definition then definition._type or null else null;
      in
      if kind == "merge" then
        concatMap discharge definition.contents
      else if kind == "if" then
        optionals definition.condition (discharge definition.content)
      else if kind == "override" then
        map (inner: inner // { inherit (definition) priority; }) (discharge definition.content)
      else
        [
          {
            value = definition;
            priority = 100;
          }
        ];

    strongest =
      definitions:
      let
        discharged = concatMap discharge definitions;
        best = foldl' (best: d: if d.priority < best then d.priority else best) 9999 discharged;
      in
      map (d: d.value) (filter (d: d.priority == best) discharged);

    merged = type: where: definitions: type.merge where (strongest definitions);

    evalModules =
      {
        modules,
        specialArgs ? { },
        where ? "",
      }:
      let
        load =
          module:
          let
            loaded = if isPath module || isString module then import module else module;
            called = if isFunction loaded then loaded (specialArgs // { inherit lib config; }) else loaded;
            whole =
              if called ? options || called ? config || called ? imports || called ? freeformType then
                called
              else
                { config = called; };
            short = removeAttrs whole [
              "imports"
              "options"
              "config"
              "freeformType"
            ];
            this = {
              options = whole.options or { };
              config = whole.config or short;
              freeform = whole.options.freeformType or whole.freeformType or null;
            };
          in
          concatMap load (whole.imports or [ ]) ++ [ this ];
        loaded = concatMap load modules;
        options = foldl' recursiveUpdate { } (map (module: removeAttrs module.options [ "freeformType" ]) loaded);
        freeform = foldl' (found: module: if module.freeform != null then module.freeform else found) null loaded;
        name = path: concatStringsSep "." (optional (where != "") where ++ path);

        value =
          path: options: definitions:
          let
            given = gather definitions;
            known = mapAttrs (
              key: option:
              let
                here = path ++ [ key ];
                own = given.${key} or [ ];
              in
              if (option._type or "") != "option" then
                value here option own
              else if option ? type then
                let
                  all = own ++ optional (option ? default) (mkOverride 1500 option.default);
                in
                if concatMap discharge all == [ ] then
                  throw "The option `${name here}' is used but not defined."
                else
                  merged option.type (name here) all
              else
                throw "The option `${name here}' has no type."
            ) options;
            rest = removeAttrs given (attrNames options);
            defined = filterAttrs (_: definitions: concatMap discharge definitions != [ ]) rest;
            free = mapAttrs (key: definitions: merged freeform "${name (path ++ [ key ])}" definitions) defined;
          in
          if freeform != null then
            free // known
          else if attrNames defined != [ ] then
            throw "The option `${name (path ++ [ (head (attrNames defined)) ])}' does not exist."
          else
            known;

        config = value [ ] options (map (module: module.config) loaded);
      in
      {
        inherit config options;
      };
  };
in
lib
